"""The figure of results over the length of the context."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from clwm_data.families import SPLITS
from clwm_data.pages.charts import Chart, LegendEntry
from clwm_data.pages.panels import Axis, Panel, span
from clwm_data.store.atomic import replacing
from clwm_train.evaluation.curve import Curve
from clwm_train.report.figure import THIRD

MEASURES = {"success": "success rate", "normalised_mean": "normalised return", "return_mean": "mean return"}
LINEAR_BELOW = 4.0  # transitions; longer contexts are on a logarithmic scale


def curve_figure(curves: Sequence[Curve], path: Path, *, title: str) -> None:
    """Draw a panel per protocol, a line per split; zero-shot as dashed lines across all panels.

    Thin lines are single seeds, if there are several. The metric is success if the family has it, else the
    normalised return if known, else the return.

    Args:
        curves: curve of each seed, see :func:`clwm_train.evaluation.curve.context_curves`.
        path: SVG file.
        title: title above the figure.
    """
    protocols = [name for name in curves[0] if name not in ("context_sizes", "zero-shot")]
    measure = _measure(curves[0][protocols[0]])
    splits = [split for split in SPLITS if split in curves[0][protocols[0]]]
    sizes: list[int] = curves[0]["context_sizes"]
    levels = {
        split: fmean(curve["zero-shot"][split][measure] for curve in curves)
        for split in splits
        if split in curves[0].get("zero-shot", {})
    }
    drawn = [
        value
        for curve in curves
        for protocol in protocols
        for split in splits
        for value in curve[protocol][split][measure]
    ]
    x = Axis(
        *span(map(_position, sizes), 0.06),
        "transitions in the context",
        {_position(k): str(k) for k in sizes},
    )
    y = Axis(*span([*drawn, *levels.values()]), MEASURES[measure], grid=True)
    panels = []
    for protocol in protocols:
        panel = Panel(x, y, protocol, width=THIRD)
        for split in splits:
            _draw(panel, sizes, [curve[protocol][split][measure] for curve in curves], split)
            if split in levels:
                panel.rule(y=levels[split], css=f"guide {split}")
        panels.append(panel)
    legend = [LegendEntry(split, split, "line") for split in splits]
    if levels:
        legend.append(LegendEntry("", "dashed: zero-shot", "none"))
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_text(Chart(panels, title, legend).svg(title), encoding="utf-8", newline="\n")


def _measure(splits: dict[str, dict[str, Any]]) -> str:
    """The best known measure of how well the tasks go."""
    known = next(iter(splits.values()))
    return next(name for name in MEASURES if name in known)


def _position(size: int) -> float:
    """Position of a context size on the axis: linear for short contexts, logarithmic for long ones."""
    return math.asinh(size / LINEAR_BELOW)


def _draw(panel: Panel, sizes: Sequence[int], lines: Sequence[Sequence[float]], split: str) -> None:
    positions = [_position(size) for size in sizes]
    for values in lines if len(lines) > 1 else ():
        panel.line(zip(positions, values, strict=True), f"thin {split}")
    means = [fmean(at) for at in zip(*lines, strict=True)]
    panel.line(zip(positions, means, strict=True), split)
    for position, size, value in zip(positions, sizes, means, strict=True):
        panel.symbol((position, value), split, title=f"{split}, {size} transitions: {value:.4g}")
