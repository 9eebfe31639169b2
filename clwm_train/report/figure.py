"""What all figures share: data that is drawn and written, colours of methods, axes."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from textwrap import wrap
from typing import Any

import numpy as np

from clwm_data.extras import require
from clwm_train.metrics.aggregate import Interval

#: Distinguishable also for colour-blind readers (Okabe & Ito), then darker shades of the same.
COLOURS = (
    "#0072b2",
    "#d55e00",
    "#009e73",
    "#cc79a7",
    "#e69f00",
    "#56b4e9",
    "#6d6d6d",
    "#7a4f9e",
    "#8c6d1f",
    "#a03030",
    "#2f6f4f",
    "#334f8d",
)
INK, SOFT, GRID = "#1c2127", "#5f6b7a", "#e2e5ea"
STYLE = {
    "font.size": 9.5,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.edgecolor": SOFT,
    "axes.labelcolor": SOFT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "text.color": INK,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "legend.frameon": False,
}


@dataclass(frozen=True)
class Figure:
    """A figure of a report, and the numbers in it.

    Attributes:
        name: of its files.
        title: in a few words.
        caption: what is shown, and how to read it.
        drawing: the matplotlib figure.
        header: columns of its CSV.
        rows: of its CSV.
    """

    name: str
    title: str
    caption: str
    drawing: Any
    header: Sequence[str]
    rows: Sequence[Sequence[object]]


@contextmanager
def drawing_style() -> Iterator[Any]:
    """matplotlib.pyplot without a screen, in the report's style.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    matplotlib = require("matplotlib", "train", "drawing")
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    style: Any = STYLE
    with plt.rc_context(style):
        yield plt


@contextmanager
def panels(rows: int, columns: int, size: tuple[float, float], **shared: Any) -> Iterator[tuple[Any, Any]]:
    """A figure and its axes [rows, columns], in the report's style.

    Args:
        rows: of panels.
        columns: of panels.
        size: width and height in inches.
        shared: ``sharex`` and ``sharey``, as matplotlib has them.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    with drawing_style() as plt:
        yield plt.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained", **shared)


def present(methods: Sequence[str], found: Iterable[Container[str]]) -> list[str]:
    """The methods that occur in any of ``found``, in their order."""
    groups = list(found)
    return [method for method in methods if any(method in group for group in groups)]


def colours(methods: Sequence[str]) -> dict[str, str]:
    """A colour for each method, the same in every figure of a report."""
    return {method: COLOURS[number % len(COLOURS)] for number, method in enumerate(methods)}


def legend(figure: Any, methods: Sequence[str], colour: dict[str, str]) -> None:
    """Names and colours of methods above the panels."""
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], color=colour[method], lw=3.0) for method in methods]
    figure.legend(handles, methods, loc="outside upper left", ncols=min(6, len(methods)), handlelength=1.2)


def bars(
    axis: Any, found: Sequence[tuple[str, Interval | None]], colour: dict[str, str], *, names: bool
) -> None:
    """Points with intervals, one line per method, the first on top.

    Args:
        axis: to draw on.
        found: method -> what it got; ``None``: nothing.
        colour: of each method.
        names: write the methods' names beside the axis.
    """
    for place, (method, interval) in enumerate(found):
        if interval is None:
            continue
        if interval.low is not None and interval.high is not None:
            width = interval.high - interval.low
            axis.barh(place, width, left=interval.low, height=0.56, color=colour[method], alpha=0.35, lw=0)
        axis.plot([interval.point] * 2, [place - 0.28, place + 0.28], color=colour[method], lw=2.4)
    axis.set_yticks(range(len(found)), [method for method, _ in found] if names else [])
    axis.set_ylim(len(found) - 0.45, -0.55)
    axis.use_sticky_edges = False
    axis.margins(x=0.06)
    axis.grid(axis="y", visible=False)
    axis.spines["left"].set_visible(False)
    axis.tick_params(axis="y", length=0)
    if any(interval is not None for _, interval in found):
        axis.locator_params(axis="x", nbins=4)
    else:
        axis.set_xticks([])


def name_row(axis: Any, name: str, *more: str) -> None:
    """Write what a row of panels is of on its left, broken where it is long: rows are low."""
    lines = [*wrap(name, 12), *more]
    axis.set_ylabel("\n".join(lines), color=SOFT, rotation=0, ha="right", va="center")


def curve(axis: Any, steps: Sequence[float], values: Sequence[Interval], colour: str) -> None:
    """A line, and a band where every value has an interval."""
    axis.plot(steps, [value.point for value in values], color=colour, lw=1.6)
    low, high = [value.low for value in values], [value.high for value in values]
    if None not in low and None not in high:
        axis.fill_between(steps, low, high, color=colour, alpha=0.18, lw=0)


def spread(values: Sequence[float]) -> Interval:
    """Mean and range over seeds."""
    if len(values) == 1:
        return Interval(values[0])
    return Interval(float(np.mean(values)), min(values), max(values))
