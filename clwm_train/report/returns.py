"""Figures 4 and 5: aggregate returns with intervals, performance profiles, formulations of the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from clwm_train.metrics.aggregate import (
    AGGREGATES,
    Interval,
    aggregate,
    performance_profile,
    probability_of_improvement,
)
from clwm_train.report.figure import SOFT, Figure, bars, colours, curve, legend, panels, present
from clwm_train.report.scores import Part, Pooled, Score, compare

TITLES = {"median": "Median", "iqm": "IQM", "mean": "Mean", "optimality_gap": "Optimality gap"}
#: What is compared, in this order, where runs have it.
PARTS = [
    (protocol, split)
    for protocol in ("few-shot", "zero-shot", "online-context", "non-prior")
    for split in ("id", "ood")
]
THRESHOLDS = np.linspace(0.0, 1.1, 111)


def aggregates_figure(parts: dict[Part, Pooled], methods: Sequence[str]) -> Figure:
    """Median, IQM, mean and optimality gap of normalised returns."""
    colour, rows = colours(methods), []
    shown = present(methods, parts.values())
    size = (10.2, 0.55 + len(parts) * (0.62 + 0.27 * len(shown)))
    with panels(len(parts), len(AGGREGATES), size, sharex="col") as (figure, axes):
        for line, ((protocol, split), of) in enumerate(parts.items()):
            for axis, (name, statistic) in zip(axes[line], AGGREGATES.items(), strict=True):
                found = [
                    (method, aggregate(of[method], statistic) if method in of else None) for method in shown
                ]
                bars(axis, found, colour, names=axis is axes[line][0])
                if line == 0:
                    axis.set_title(TITLES[name])
                rows += [
                    (protocol, split, method, name, value.point, value.low, value.high)
                    for method, value in found
                    if value is not None
                ]
            axes[line][0].set_ylabel(f"{protocol}\n{split}", color=SOFT)
    return Figure(
        "aggregates",
        "Aggregate returns",
        "Normalised returns (0: random actions, 1: the expert) over unseen tasks and seeds, with 95 % "
        "stratified bootstrap intervals. Of the optimality gap less is better.",
        figure,
        ("protocol", "split", "method", "aggregate", "point", "low", "high"),
        rows,
    )


def profiles_figure(parts: dict[Part, Pooled], methods: Sequence[str]) -> Figure:
    """Performance profiles of normalised returns."""
    colour, rows = colours(methods), []
    columns = min(4, len(parts))
    lines = -(-len(parts) // columns)
    size = (max(5.0, 2.6 * columns), 0.5 + 2.3 * lines)
    with panels(lines, columns, size, sharey=True) as (figure, axes):
        for axis in axes.flat[len(parts) :]:
            axis.remove()
        for axis, ((protocol, split), of) in zip(axes.flat, parts.items(), strict=False):
            for method, scores in of.items():
                profile = performance_profile(scores, THRESHOLDS)
                low, high = (
                    [None] * len(THRESHOLDS) if end is None else end.tolist()
                    for end in (profile.low, profile.high)
                )
                values = list(map(Interval, profile.share.tolist(), low, high))
                curve(axis, THRESHOLDS.tolist(), values, colour[method])
                rows += [
                    (protocol, split, method, threshold, value.point, value.low, value.high)
                    for threshold, value in zip(THRESHOLDS.round(4).tolist(), values, strict=True)
                ]
            axis.set(title=f"{protocol}, {split}", ylim=(-0.03, 1.03), xlim=(THRESHOLDS[0], THRESHOLDS[-1]))
            axis.set_xlabel("normalised return")
        for line in axes:
            line[0].set_ylabel("share above")
        legend(figure, present(methods, parts.values()), colour)
    return Figure(
        "profiles",
        "Performance profiles",
        "Share of tasks and seeds with a normalised return above each threshold: the higher a line, the "
        "better; bands are pointwise 95 % intervals.",
        figure,
        ("protocol", "split", "method", "threshold", "share", "low", "high"),
        rows,
    )


def improvement_figure(parts: dict[Part, Pooled], methods: Sequence[str]) -> Figure | None:
    """Probability that the first method beats each of the others; ``None`` where there is none."""
    first, others = methods[0], methods[1:]
    compared = {
        part: [method for method in others if method in of] for part, of in parts.items() if first in of
    }
    compared = {part: found for part, found in compared.items() if found}
    if not compared:
        return None
    colour, rows = colours(methods), []
    shown = present(others, compared.values())
    size = (max(5.0, 2.6 * len(compared)), 0.95 + 0.29 * len(shown))
    with panels(1, len(compared), size, sharex=True) as (figure, axes):
        for axis, ((protocol, split), found) in zip(axes[0], compared.items(), strict=True):
            of = parts[protocol, split]
            values = [
                (method, probability_of_improvement(of[first], of[method]) if method in found else None)
                for method in shown
            ]
            bars(axis, values, colour, names=axis is axes[0][0])
            axis.axvline(0.5, color=SOFT, lw=0.8, ls=(0, (3, 3)))
            axis.set(title=f"{protocol}, {split}", xlim=(-0.03, 1.03), xlabel=f"P({first} better)")
            rows += [
                (protocol, split, first, method, value.point, value.low, value.high)
                for method, value in values
                if value is not None
            ]
    return Figure(
        "improvement",
        "Probability of improvement",
        f"How likely a run of {first} gets a higher return on a task than one of each other method, averaged "
        "over tasks, with 95 % stratified bootstrap intervals; one half is a draw.",
        figure,
        ("protocol", "split", "method", "over", "point", "low", "high"),
        rows,
    )


def formulations_figure(
    parts: dict[Part, Pooled], methods: Sequence[str], formulation: dict[str, str]
) -> Figure | None:
    """Figure 4: IQM of the formulations of the world model; ``None`` where there are not two of them.

    Args:
        parts: what to draw.
        methods: in order.
        formulation: method -> latent space and consistency loss, of those with a world model.
    """
    shown = [method for method in present(methods, parts.values()) if method in formulation]
    if len({formulation[method] for method in shown}) < 2:
        return None
    colour, rows = colours(methods), []
    names = {method: f"{formulation[method]} ({method})" for method in shown}
    size = (2.4 + 2.3 * len(parts), 0.95 + 0.31 * len(shown))
    with panels(1, len(parts), size) as (figure, axes):
        for axis, ((protocol, split), of) in zip(axes[0], parts.items(), strict=True):
            found = [(method, aggregate(of[method]) if method in of else None) for method in shown]
            named = {names[method]: colour[method] for method in shown}
            bars(axis, [(names[method], value) for method, value in found], named, names=axis is axes[0][0])
            axis.set(title=f"{protocol}, {split}", xlabel="IQM of normalised returns")
            rows += [
                (protocol, split, method, formulation[method], value.point, value.low, value.high)
                for method, value in found
                if value is not None
            ]
    return Figure(
        "formulations",
        "Formulations of the world model",
        "Latent space and consistency loss: interquartile means of normalised returns with 95 % stratified "
        "bootstrap intervals.",
        figure,
        ("protocol", "split", "method", "formulation", "iqm", "low", "high"),
        rows,
    )


def returns_figures(
    scores: Sequence[Score], methods: Sequence[str], formulation: dict[str, str]
) -> list[Figure]:
    """Figures 4 and 5 of the paper, for whatever has normalised returns."""
    comparison = compare(scores, methods, PARTS)
    parts = comparison.parts
    if not parts:
        return []
    listed = ", ".join(comparison.datasets)
    figures = [
        formulations_figure(parts, methods, formulation),
        aggregates_figure(parts, methods),
        profiles_figure(parts, methods),
        improvement_figure(parts, methods),
    ]
    return [
        replace(figure, caption=f"{figure.caption} Datasets: {listed}.")
        for figure in figures
        if figure is not None
    ]
