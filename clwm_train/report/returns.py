"""Figures 4 and 5: aggregate returns with intervals, performance profiles, formulations of the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from clwm_data.pages.charts import Chart
from clwm_data.pages.panels import Axis, Panel
from clwm_train.metrics.aggregate import (
    AGGREGATES,
    Interval,
    aggregate,
    performance_profile,
    probability_of_improvement,
)
from clwm_train.report.figure import (
    THIRD,
    Figure,
    add_curve,
    common_axis,
    estimates,
    estimates_width,
    method_classes,
    method_legend,
    present,
)
from clwm_train.report.scores import Part, Pooled, Score, compare

TITLES = {"median": "median", "iqm": "IQM", "mean": "mean", "optimality_gap": "optimality gap"}
#: Protocols and splits that are compared, in this order, if runs have them.
PARTS = [
    (protocol, split)
    for protocol in ("few-shot", "zero-shot", "online-context", "non-prior")
    for split in ("id", "ood")
]
THRESHOLDS = np.linspace(0.0, 1.1, 111)


def aggregates_figure(parts: dict[Part, Pooled], methods: Sequence[str]) -> Figure:
    """Median, IQM, mean and optimality gap of normalised returns."""
    shown = present(methods, parts.values())
    intervals = {
        (part, name): {
            method: aggregate(scores[method], statistic) if method in scores else None for method in shown
        }
        for part, scores in parts.items()
        for name, statistic in AGGREGATES.items()
    }
    axes = {}
    for gap, title in ((False, "normalised return"), (True, "optimality gap")):
        drawn = [
            value
            for (_, name), values in intervals.items()
            if (name == "optimality_gap") is gap
            for value in values.values()
        ]
        axes[gap] = common_axis(drawn, title, low=0.0, high=1.0)
    css = method_classes(methods)
    width = estimates_width(shown)
    panels = [
        estimates(
            values,
            css,
            axes[name == "optimality_gap"],
            f"{TITLES[name]}: {protocol}, {split}",
            width=width,
        )
        for ((protocol, split), name), values in intervals.items()
    ]
    rows = [
        (protocol, split, method, name, value.point, value.low, value.high)
        for ((protocol, split), name), values in intervals.items()
        for method, value in values.items()
        if value is not None
    ]
    return Figure(
        "aggregates",
        "Aggregate returns",
        "Normalised returns (0: random actions, 1: the expert) over unseen tasks and seeds, with 95 % "
        "stratified bootstrap intervals. A smaller optimality gap is better.",
        Chart(panels, "Aggregate returns", columns=len(AGGREGATES)),
        ("protocol", "split", "method", "aggregate", "point", "low", "high"),
        rows,
    )


def profiles_figure(parts: dict[Part, Pooled], methods: Sequence[str]) -> Figure:
    """Performance profiles of normalised returns."""
    css, panels, rows = method_classes(methods), [], []
    x = Axis(float(THRESHOLDS[0]), float(THRESHOLDS[-1]), "normalised return")
    y = Axis(0.0, 1.0, "share above", grid=True)
    for (protocol, split), pooled in parts.items():
        panel = Panel(x, y, f"{protocol}, {split}", width=THIRD)
        for method in present(methods, [pooled]):
            profile = performance_profile(pooled[method], THRESHOLDS)
            low, high = (
                [None] * len(THRESHOLDS) if end is None else end.tolist()
                for end in (profile.low, profile.high)
            )
            values = list(map(Interval, profile.share.tolist(), low, high))
            add_curve(panel, list(zip(THRESHOLDS.tolist(), values, strict=True)), css[method])
            rows += [
                (protocol, split, method, threshold, value.point, value.low, value.high)
                for threshold, value in zip(THRESHOLDS.round(4).tolist(), values, strict=True)
            ]
        panels.append(panel)
    return Figure(
        "profiles",
        "Performance profiles",
        "Share of tasks and seeds with a normalised return above each threshold: the higher a line, the "
        "better; bands are pointwise 95 % intervals.",
        Chart(panels, "Performance profiles", method_legend(present(methods, parts.values()), methods)),
        ("protocol", "split", "method", "threshold", "share", "low", "high"),
        rows,
    )


def improvement_figure(parts: dict[Part, Pooled], methods: Sequence[str]) -> Figure | None:
    """Probability that the first method of these scores beats each of the others; ``None`` if there are no
    others."""
    first, *others = present(methods, parts.values())
    shown = present(others, [pooled for pooled in parts.values() if first in pooled])
    if not shown:
        return None
    css, panels, rows = method_classes(methods), [], []
    axis = Axis(-0.02, 1.02, f"P({first} better)", grid=True)
    for (protocol, split), pooled in parts.items():
        if first not in pooled or not present(others, [pooled]):
            continue
        values = {
            method: probability_of_improvement(pooled[first], pooled[method]) if method in pooled else None
            for method in shown
        }
        panel = estimates(values, css, axis, f"{protocol}, {split}", width=THIRD)
        panel.rule(x=0.5)
        panels.append(panel)
        rows += [
            (protocol, split, first, method, value.point, value.low, value.high)
            for method, value in values.items()
            if value is not None
        ]
    return Figure(
        "improvement",
        "Probability of improvement",
        f"Probability that a run of {first} gets a higher return on a task than one of each other method, "
        "averaged over tasks, with 95 % stratified bootstrap intervals; one half (dashed) is a tie.",
        Chart(panels, "Probability of improvement"),
        ("protocol", "split", "method", "over", "point", "low", "high"),
        rows,
    )


def formulations_figure(
    parts: dict[Part, Pooled], methods: Sequence[str], formulation: dict[str, str]
) -> Figure | None:
    """Figure 4: IQM of the formulations of the world model; ``None`` if there are fewer than two.

    Args:
        parts: normalised scores to draw.
        methods: all methods, in order.
        formulation: method -> latent space and consistency loss, for methods with a world model.
    """
    shown = [method for method in present(methods, parts.values()) if method in formulation]
    if len({formulation[method] for method in shown}) < 2:
        return None
    intervals = {
        part: {method: aggregate(pooled[method]) if method in pooled else None for method in shown}
        for part, pooled in parts.items()
    }
    drawn = [value for values in intervals.values() for value in values.values()]
    axis = common_axis(drawn, "IQM of normalised returns", low=0.0, high=1.0)
    css = method_classes(methods)
    names = {method: _formulation_name(method, formulation[method], shown, formulation) for method in shown}
    panels = [
        estimates(
            {names[method]: value for method, value in values.items()},
            {names[method]: css[method] for method in shown},
            axis,
            f"{protocol}, {split}",
            width=THIRD,
        )
        for (protocol, split), values in intervals.items()
    ]
    rows = [
        (protocol, split, method, formulation[method], value.point, value.low, value.high)
        for (protocol, split), values in intervals.items()
        for method, value in values.items()
        if value is not None
    ]
    return Figure(
        "formulations",
        "Formulations of the world model",
        "Latent space and consistency loss: interquartile means of normalised returns with 95 % stratified "
        "bootstrap intervals.",
        Chart(panels, "Formulations of the world model"),
        ("protocol", "split", "method", "formulation", "iqm", "low", "high"),
        rows,
    )


def _formulation_name(
    method: str, formulation: str, shown: Sequence[str], formulations: dict[str, str]
) -> str:
    """The formulation, with the method's name if several methods share it."""
    shared = sum(formulations[other] == formulation for other in shown) > 1
    return f"{formulation} ({method})" if shared else formulation


def returns_figures(
    scores: Sequence[Score], methods: Sequence[str], formulation: dict[str, str]
) -> list[Figure]:
    """Figures 4 and 5 of the paper, for all scores with normalised returns."""
    comparison = compare(scores, methods, PARTS)
    parts = comparison.parts
    if not parts:
        return []
    listed = f"Datasets: {', '.join(comparison.datasets)}."
    scored = {score.method for score in scores if (score.protocol, score.split) in parts}
    if lacking := sorted(scored - {*present(methods, parts.values())}):
        listed += f" Left out, since no seed of theirs is on all of these: {', '.join(lacking)}."
    figures = [
        formulations_figure(parts, methods, formulation),
        aggregates_figure(parts, methods),
        profiles_figure(parts, methods),
        improvement_figure(parts, methods),
    ]
    return [replace(figure, caption=f"{figure.caption} {listed}") for figure in figures if figure is not None]
