"""Figures 2 to 4: representations over training, disentanglement, formulations of the world model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from clwm_data.pages.charts import Chart
from clwm_data.pages.panels import Axis, Panel
from clwm_train.analysis.findings import SeedAnalysis
from clwm_train.analysis.results import read_analysis
from clwm_train.metrics.aggregate import Interval
from clwm_train.report.figure import (
    THIRD,
    Figure,
    add_curve,
    estimates,
    method_classes,
    method_legend,
    present,
    spread,
)
from clwm_train.runs.metrics_log import read_metrics
from clwm_train.runs.run import METRICS, Run
from clwm_train.settings import AnalysisSettings

REPRESENTATION = {
    "feature_rank": "feature rank (share)",
    "matrix_rank": "matrix rank",
    "dormant_ratio": "dormant neurons (share)",
}
DISENTANGLEMENT = {
    "disentanglement": "DCI disentanglement",
    "completeness": "DCI completeness",
    "informativeness": "DCI informativeness",
    "modularity": "InfoMEC modularity",
    "compactness": "InfoMEC compactness",
    "explicitness": "InfoMEC explicitness",
}
PREDICTED = {"code": "latent code", "reward": "reward"}

#: (dataset, method) -> its runs.
Groups = dict[tuple[str, str], list[Run]]
#: (dataset, metric) -> method -> value.
Panels = dict[tuple[str, str], dict[str, Interval]]
#: (dataset, method) -> metric -> step -> values of all seeds.
Curves = dict[tuple[str, str], dict[str, dict[int, Sequence[float]]]]


def group_runs(runs: Sequence[Run]) -> Groups:
    """Runs of the same method on the same dataset."""
    groups: Groups = {}
    for run in runs:
        groups.setdefault((run.record.store_name, run.label), []).append(run)
    return groups


def representation_figure(groups: Groups, methods: Sequence[str]) -> Figure | None:
    """Figure 2: ranks and dormant neurons of the context encoder over training."""
    logged = {key: _logged(runs) for key, runs in groups.items()}
    curves = {key: metrics for key, metrics in logged.items() if metrics}
    if not curves:
        return None
    return Figure(
        "representation",
        "Representations over training",
        "Last hidden layer of the context encoder (ranks) and all of its hidden layers (dormant neurons), on "
        "the same contexts throughout: mean and range over seeds.",
        _lines(curves, REPRESENTATION, methods, "updates"),
        ("dataset", "method", "metric", "step", "mean", "low", "high"),
        _line_rows(curves),
    )


def disentanglement_figure(
    groups: Groups, methods: Sequence[str], settings: AnalysisSettings | None = None
) -> Figure | None:
    """Figure 3: DCI and InfoMEC, for families with factors."""
    panels: Panels = {}
    for (dataset, method), runs in groups.items():
        scores = [
            seed.disentanglement for seed in _analyses(runs, settings) if seed.disentanglement is not None
        ]
        for name in DISENTANGLEMENT:
            values = [value for value in (getattr(score, name) for score in scores) if value is not None]
            if values:
                panels.setdefault((dataset, name), {})[method] = spread(values)
    if not panels:
        return None
    return Figure(
        "disentanglement",
        "Disentanglement",
        "How far single entries of z represent single factors of the tasks (families of length and speed), "
        f"scored on the unseen id tasks: mean and range over seeds.{_constructed_codes(groups, settings)}",
        _grid(panels, DISENTANGLEMENT, "score", methods),
        ("dataset", "metric", "method", "mean", "low", "high"),
        _rows(panels),
    )


def _constructed_codes(groups: Groups, settings: AnalysisSettings | None) -> str:
    """Scores of noise, and of codes that mix all factors, for comparison."""
    analysed = [
        seed.disentanglement
        for runs in groups.values()
        for seed in _analyses(runs, settings)
        if seed.disentanglement is not None
    ]
    parts = []
    for name, scores in (
        ("codes of noise", [one.noise for one in analysed if one.noise is not None]),
        ("entangled codes", [one.entangled for one in analysed if one.entangled is not None]),
    ):
        values = [
            f"{metric} {np.mean([value for value in column if value is not None]):.2f}"
            for metric in DISENTANGLEMENT
            for column in [[getattr(score, metric) for score in scores]]
            if any(value is not None for value in column)
        ]
        if values:
            parts.append(f" For comparison, {name} score: {', '.join(values)}.")
    return "".join(parts)


def probe_figure(
    groups: Groups, methods: Sequence[str], settings: AnalysisSettings | None = None
) -> Figure | None:
    """How much of the task parameters is linear in z."""
    panels: Panels = {}
    for (dataset, method), runs in groups.items():
        for split in ("id", "ood"):
            probes = [(seed.probe or {}).get(split) for seed in _analyses(runs, settings)]
            values = [float(np.mean(list(probe.values()))) for probe in probes if probe]
            if values:
                panels.setdefault((dataset, split), {})[method] = spread(values)
    if not panels:
        return None
    return Figure(
        "probe",
        "Linear probe",
        "R\u00b2 of the affine map from z to the task parameters, fitted to the train tasks, on the unseen "
        "ones: mean over parameters; mean and range over seeds. 0: no better than the mean; values below -1 "
        "are not shown.",
        _grid(panels, {"id": "id tasks", "ood": "ood tasks"}, "R\u00b2", methods),
        ("dataset", "split", "method", "mean", "low", "high"),
        _rows(panels),
    )


def _rows(panels: Panels) -> list[tuple[object, ...]]:
    return [
        (dataset, name, method, value.point, value.low, value.high)
        for (dataset, name), by_method in panels.items()
        for method, value in by_method.items()
    ]


def _grid(estimated: Panels, titles: Mapping[str, str], axis_title: str, methods: Sequence[str]) -> Chart:
    """A row per dataset, a panel per metric, values up to 1 on one axis."""
    css = method_classes(methods)
    datasets = list(dict.fromkeys(dataset for dataset, _ in estimated))
    names = [name for name in titles if any((dataset, name) in estimated for dataset in datasets)]
    shown = present(methods, estimated.values())
    lowest = min(
        value.point if value.low is None else value.low
        for by_method in estimated.values()
        for value in by_method.values()
    )
    axis = Axis(max(-1.05, min(-0.04, lowest - 0.04)), 1.04, axis_title, grid=True)
    panels = [
        estimates(
            {method: estimated.get((dataset, name), {}).get(method) for method in shown},
            css,
            axis,
            f"{dataset}: {titles[name]}" if len(datasets) > 1 else titles[name],
            width=THIRD,
        )
        for dataset in datasets
        for name in names
    ]
    return Chart(panels, axis_title, columns=2 if len(names) == 2 else 3)


def open_loop_figure(
    groups: Groups, methods: Sequence[str], settings: AnalysisSettings | None = None
) -> Figure | None:
    """Figure 4, in addition to the returns: errors of the world model's formulations over the horizon."""
    curves: Curves = {}
    for key, runs in groups.items():
        errors = [
            seed.open_loop["id"]
            for seed in _analyses(runs, settings)
            if seed.open_loop and "id" in seed.open_loop
        ]
        if errors:
            curves[key] = {
                # Up to the shortest horizon of all seeds.
                name: dict(enumerate(zip(*(getattr(error, name) for error in errors), strict=False), 1))
                for name in PREDICTED
            }
    if not curves:
        return None
    return Figure(
        "open-loop",
        "Open-loop prediction",
        "Squared error of the world model after so many steps of stored actions on the unseen id tasks, "
        "relative to the variance of the target (1: no better than the mean): mean and range over seeds. "
        "Values above 2 are not shown. Code errors of different latent spaces are not comparable; reward "
        "errors are.",
        _lines(curves, PREDICTED, methods, "steps ahead", highest=2.0),
        ("dataset", "method", "metric", "step", "mean", "low", "high"),
        _line_rows(curves),
    )


def _lines(
    curves: Curves, titles: Mapping[str, str], methods: Sequence[str], along: str, highest: float = np.inf
) -> Chart:
    """A row per dataset, a panel per metric, a line per method from 0 to at most ``highest``.

    All panels of a metric have the same axes.
    """
    css = method_classes(methods)
    datasets = list(dict.fromkeys(dataset for dataset, _ in curves))
    names = [name for name in titles if any(metrics.get(name) for metrics in curves.values())]
    summaries = {
        (key, name): [(float(step), spread(values)) for step, values in metrics.get(name, {}).items()]
        for key, metrics in curves.items()
        for name in names
    }
    axes = {}
    for name in names:
        points = [point for (_, other), points in summaries.items() if other == name for point in points]
        top = max(value.point if value.high is None else value.high for _, value in points)
        longest = max(step for step, _ in points)
        axes[name] = (
            Axis(0.0, max(longest, 1.0), along),
            Axis(0.0, min(1.06 * top or 1.0, highest), titles[name], grid=True),
        )
    panels = []
    for dataset in datasets:
        for name in names:
            panel = Panel(*axes[name], f"{dataset}: {titles[name]}", width=THIRD)
            for method in methods:
                if line := summaries.get(((dataset, method), name)):
                    add_curve(panel, line, css[method])
            panels.append(panel)
    shown = present(methods, [{method for _, method in curves}])
    return Chart(panels, along, method_legend(shown, methods), columns=len(names))


def _line_rows(curves: Curves) -> list[tuple[object, ...]]:
    return [
        (dataset, method, name, step, value.point, value.low, value.high)
        for (dataset, method), metrics in curves.items()
        for name, steps in metrics.items()
        for step, value in ((step, spread(values)) for step, values in steps.items())
    ]


def _analyses(runs: Sequence[Run], settings: AnalysisSettings | None) -> list[SeedAnalysis]:
    return [
        seed
        for run in runs
        for analysis in [read_analysis(run, settings)]
        if analysis is not None
        for seed in analysis.seeds
    ]


def _logged(runs: Sequence[Run]) -> dict[str, dict[int, Sequence[float]]]:
    """metric -> update -> values of all seeds, logged while training."""
    logged: dict[str, dict[int, list[float]]] = {}
    for run in runs:
        if not (run.path / METRICS).exists():
            continue
        for row in read_metrics(run.path / METRICS, run.record.seeds):
            for name in REPRESENTATION:
                value = row.get(f"context_encoder/{name}")
                if value is not None:
                    logged.setdefault(name, {}).setdefault(row["step"], []).append(value)
    return {name: dict(sorted(steps.items())) for name, steps in logged.items()}
