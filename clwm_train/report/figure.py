"""Shared by all figures of a report: a chart with its numbers, colours of methods, panels of estimates."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from clwm_data.pages.charts import Chart, LegendEntry
from clwm_data.pages.numbers import number
from clwm_data.pages.palette import series_class
from clwm_data.pages.panels import Axis, Panel, span
from clwm_train.metrics.aggregate import Interval

#: Widths in pixels of panels of which three, or four, fit side by side on a page.
THIRD, QUARTER = 320.0, 235.0
LINE_HEIGHT = 22.0  # pixels per estimate
LONGEST_NAME, SHORT_NAME = 24, 12  # characters


@dataclass(frozen=True)
class Figure:
    """A figure of a report, and the numbers in it.

    Attributes:
        name: name of its files.
        title: short title.
        caption: what is shown, and how to read it.
        chart: the drawing.
        header: column names of its CSV.
        rows: rows of its CSV.
    """

    name: str
    title: str
    caption: str
    chart: Chart
    header: Sequence[str]
    rows: Sequence[Sequence[object]]


def present(methods: Sequence[str], groups: Iterable[Container[str]]) -> list[str]:
    """The methods that occur in any of the groups, in their order."""
    listed = list(groups)
    return [method for method in methods if any(method in group for group in listed)]


def method_classes(methods: Sequence[str]) -> dict[str, str]:
    """CSS classes of each method, the same in every figure of a report."""
    return {method: series_class(place) for place, method in enumerate(methods)}


def method_legend(shown: Sequence[str], methods: Sequence[str]) -> list[LegendEntry]:
    """Legend of the methods that are shown; colours are assigned by ``methods``, all those of the report."""
    css = method_classes(methods)
    return [LegendEntry(css[method], method, "line") for method in shown]


def common_axis(intervals: Iterable[Interval | None], title: str, *, low: float, high: float) -> Axis:
    """An axis that covers all intervals, and at least [low, high]; for all panels of one quantity."""
    ends = [end for interval in intervals if interval is not None for end in _ends(interval)]
    return Axis(*span([low, high, *ends]), title, grid=True)


def estimates_width(names: Iterable[str]) -> float:
    """Width of panels of :func:`estimates`: a quarter of a page, or a third where names would take most of
    that."""
    longest = max(len(shortened(name)) for name in names)
    return QUARTER if longest <= SHORT_NAME else THIRD


def estimates(
    values: Mapping[str, Interval | None], css: Mapping[str, str], axis: Axis, title: str, *, width: float
) -> Panel:
    """Points with intervals, one line per name, the first on top.

    Args:
        values: name -> estimate; ``None`` leaves the line empty.
        css: name -> CSS classes of its colour.
        axis: common axis of all such panels in a figure.
        title: title of the panel.
        width: width in pixels.
    """
    marks = {float(place): shortened(name) for place, name in enumerate(values)}
    lines = Axis(len(values) - 0.5, -0.5, marks=marks)
    panel = Panel(axis, lines, title, width=width, height=LINE_HEIGHT * len(values))
    for place, (name, interval) in enumerate(values.items()):
        if interval is not None:
            ends = None if interval.low is None or interval.high is None else (interval.low, interval.high)
            panel.interval(place, interval.point, ends, css[name], title=f"{name}: {written(interval)}")
    return panel


def add_curve(panel: Panel, values: Sequence[tuple[float, Interval]], css: str) -> None:
    """Add a line through points (x, estimate), and a band if every estimate has an interval."""
    lower = [(x, value.low) for x, value in values if value.low is not None]
    upper = [(x, value.high) for x, value in values if value.high is not None]
    if len(lower) == len(upper) == len(values):
        panel.band(lower, upper, css)
    panel.line([(x, value.point) for x, value in values], css)


def spread(values: Sequence[float]) -> Interval:
    """Mean and range over seeds."""
    if len(values) == 1:
        return Interval(values[0])
    return Interval(float(np.mean(values)), min(values), max(values))


def written(interval: Interval) -> str:
    """``0.93, 0.91 to 0.95``."""
    text = number(interval.point)
    if interval.low is None or interval.high is None:
        return text
    return f"{text}, {number(interval.low)} to {number(interval.high)}"


def shortened(name: str) -> str:
    """A name, shortened to fit beside an axis."""
    return name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "\N{HORIZONTAL ELLIPSIS}"


def _ends(interval: Interval) -> list[float]:
    return [value for value in (interval.low, interval.point, interval.high) if value is not None]
