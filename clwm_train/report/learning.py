"""Learning curves: returns of the evaluations while training, against updates and against time."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from clwm_data.families import SPLITS
from clwm_data.pages.charts import Chart
from clwm_data.pages.panels import Axis, Panel, span
from clwm_train.metrics.aggregate import Interval, aggregate, mean
from clwm_train.report.figure import THIRD, Figure, add_curve, method_classes, method_legend, present
from clwm_train.runs.metrics_log import EVALUATION_PREFIX, SECONDS, read_metrics
from clwm_train.runs.run import METRICS, Run

#: Columns of metrics.jsonl: mean return over the tasks of a split, and seconds of training so far.
RETURN = re.compile(rf"{EVALUATION_PREFIX}(?P<protocol>[a-z-]+)/(?P<split>train|id|ood)/return")

Part = tuple[str, str]


@dataclass(frozen=True)
class Evaluated:
    """One seed at one update.

    Attributes:
        step: updates done.
        seconds: seconds of training so far; ``None`` if they were not logged.
        returns: (protocol, split) -> mean return over tasks.
    """

    step: int
    seconds: float | None
    returns: dict[Part, float]


@dataclass(frozen=True)
class CurvePoint:
    """All seeds at one update: mean return with its 95 % interval, and mean time."""

    step: int
    seconds: float | None
    value: Interval


#: (dataset, method) -> its runs.
Groups = Mapping[tuple[str, str], Sequence[Run]]
#: (dataset, method) -> (protocol, split) -> points in the order of updates.
Curves = dict[tuple[str, str], dict[Part, list[CurvePoint]]]


def learning_figures(groups: Groups, methods: Sequence[str]) -> list[Figure]:
    """Returns against updates and, if logged, against time; no figures without evaluations."""
    curves = {key: by_part for key, runs in groups.items() if (by_part := learning_curves(runs))}
    if not curves:
        return []
    points = [point for parts in curves.values() for line in parts.values() for point in line]
    figures = [_figure(curves, methods, "learning-updates", "updates")]
    if all(point.seconds is not None for point in points):
        figures.append(_figure(curves, methods, "learning-time", "minutes"))
    return figures


def learning_curves(runs: Sequence[Run]) -> dict[Part, list[CurvePoint]]:
    """Curves of runs that are seeds of one method, at the updates at which all of them were evaluated."""
    by_seed = [rows for run in runs for rows in _evaluations(run).values()]
    if not by_seed:
        return {}
    parts = sorted(
        {part for rows in by_seed for row in rows.values() for part in row.returns},
        key=lambda part: (part[0], SPLITS.index(part[1])),
    )
    curves: dict[Part, list[CurvePoint]] = {}
    for part in parts:
        steps = set.intersection(
            *({step for step, row in rows.items() if part in row.returns} for rows in by_seed)
        )
        points = []
        for step in sorted(steps):
            rows_here = [rows[step] for rows in by_seed]
            value = aggregate(np.asarray([[row.returns[part]] for row in rows_here]), mean)
            times = [row.seconds for row in rows_here if row.seconds is not None]
            seconds = float(np.mean(times)) if len(times) == len(rows_here) else None
            points.append(CurvePoint(step, seconds, value))
        if points:
            curves[part] = points
    return curves


def _evaluations(run: Run) -> dict[int, dict[int, Evaluated]]:
    """seed -> update -> logged evaluation; empty if nothing was evaluated while training."""
    file = run.path / METRICS
    by_seed: dict[int, dict[int, Evaluated]] = {}
    for row in read_metrics(file, run.record.seeds) if file.exists() else ():
        returns = {
            (match["protocol"], match["split"]): float(value)
            for key, value in row.items()
            if (match := RETURN.fullmatch(key))
        }
        if returns:
            seconds = row.get(SECONDS)
            by_seed.setdefault(row["seed"], {})[row["step"]] = Evaluated(row["step"], seconds, returns)
    return by_seed


def _figure(curves: Curves, methods: Sequence[str], name: str, along: str) -> Figure:
    css = method_classes(methods)
    datasets = list(dict.fromkeys(dataset for dataset, _ in curves))
    parts = list(dict.fromkeys(part for by_part in curves.values() for part in by_part))
    lines = {
        (dataset, part, method): [(_along(point, along), point.value) for point in by_part[part]]
        for (dataset, method), by_part in curves.items()
        for part in parts
        if part in by_part
    }
    x = Axis(0.0, max(x_value for line in lines.values() for x_value, _ in line) or 1.0, along)
    panels = []
    for dataset in datasets:
        dataset_lines = {key: line for key, line in lines.items() if key[0] == dataset}
        ends = [
            end
            for line in dataset_lines.values()
            for _, value in line
            for end in (value.low, value.point, value.high)
            if end is not None
        ]
        y = Axis(*span(ends), "mean return", grid=True)
        for part in parts:
            panel = Panel(x, y, f"{dataset}: {part[0]}, {part[1]}", width=THIRD)
            for method in methods:
                if line := dataset_lines.get((dataset, part, method), []):
                    add_curve(panel, line, css[method])
            panels.append(panel)
    shown = present(methods, [{method for _, method in curves}])
    return Figure(
        name,
        f"Learning curves: return against {along}",
        "Mean return over the tasks of a split, evaluated while training, with 95 % bootstrap intervals over "
        "seeds where there are several. All panels of a dataset have the same axes."
        + (" Time is that of training alone, on the machine it ran on." if along == "minutes" else ""),
        Chart(panels, f"Return against {along}", method_legend(shown, methods)),
        ("dataset", "method", "protocol", "split", "updates", "seconds", "return", "low", "high"),
        [
            (dataset, method, *part, point.step, point.seconds, *_ends(point.value))
            for (dataset, method), by_part in curves.items()
            for part, points in by_part.items()
            for point in points
        ],
    )


def _along(point: CurvePoint, along: str) -> float:
    return (point.seconds or 0.0) / 60.0 if along == "minutes" else float(point.step)


def _ends(value: Interval) -> tuple[float, float | None, float | None]:
    return value.point, value.low, value.high
