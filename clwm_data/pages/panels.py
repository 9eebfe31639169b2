"""Panels: axes, and marks at positions given in values of the axes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from html import escape
from textwrap import wrap

from clwm_data.pages import svg
from clwm_data.pages.svg import Shape
from clwm_data.pages.ticks import tick_labels, ticks

#: Pixels. Panels wider than a telephone shrink there, and their text grows in turn (``chart.css``).
NARROW = 368
CHARACTER, TITLE_CHARACTER, LINE, TICK = 6.6, 7.8, 16.0, 4.0
TELEPHONE_TEXT = 1.25  # how much larger the text of a wide panel can become

Point = tuple[float, float]


@dataclass(frozen=True)
class Axis:
    """An axis of a panel.

    Attributes:
        low: value at its left or lower end.
        high: value at the other end; greater than ``low``, or smaller for a reversed axis.
        title: the quantity, with its unit.
        marks: value -> text of each tick; round numbers by default.
        grid: draw a line across the panel at every tick.
    """

    low: float
    high: float
    title: str = ""
    marks: dict[float, str] | None = None
    grid: bool = False

    def labelled(self, count: int) -> dict[float, str]:
        """Ticks and their texts, about ``count`` of them."""
        if self.marks is not None:
            return self.marks
        labels = ticks(min(self.low, self.high), max(self.low, self.high), max(2, count))
        return dict(zip(labels, tick_labels(labels), strict=True))

    def labelled_within(self, characters: float) -> dict[float, str]:
        """Ticks and their texts, as many as fit side by side, at most about seven."""
        for count in range(6, 2, -1):
            labels = self.labelled(count)
            if sum(len(label) + 2.5 for label in labels.values()) <= characters:
                return labels
        return self.labelled(2)


def span(values: Iterable[float], margin: float = 0.04) -> tuple[float, float]:
    """The range of some values, with a margin on both sides; never empty."""
    listed = list(values)
    low, high = min(listed), max(listed)
    pad = margin * (high - low) or max(1e-6, 0.1 * abs(high))
    return low - pad, high + pad


@dataclass
class Panel:
    """Axes and the marks between them; coordinates of marks are values of the axes.

    Attributes:
        x: the horizontal axis.
        y: the vertical axis.
        title: lines above the panel.
        width: width of the whole drawing in pixels.
        height: height between the axes in pixels.
        marks: SVG elements, drawn in order and clipped at the axes.
    """

    x: Axis
    y: Axis
    title: str = ""
    width: float = 320.0
    height: float = 180.0
    marks: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        text = 1.0 if self.width <= NARROW else TELEPHONE_TEXT
        self._y_labels = self.y.labelled(round(self.height / 40))
        longest = max((len(label) for label in self._y_labels.values()), default=0)
        self._text = text
        self._left = 8.0 + CHARACTER * text * longest + (LINE * text + 6.0 if self.y.title else 0.0)
        most = int(self.width / (TITLE_CHARACTER * text))
        self._title = [line for part in self.title.splitlines() for line in wrap(part, most)]
        self._top = LINE * text * len(self._title) + (10.0 if self.title else 8.0)
        self._right = 14.0
        self._x_labels = self.x.labelled_within(self.inner_width / (CHARACTER * text))
        self._bottom = (6.0 + LINE * text if self._x_labels else 8.0) + (
            LINE * text + 2 if self.x.title else 0
        )

    @property
    def inner_width(self) -> float:
        """Pixels between the vertical edges."""
        return self.width - self._left - self._right

    @property
    def total_height(self) -> float:
        """Pixels of the whole drawing."""
        return self._top + self.height + self._bottom

    def place_x(self, value: float) -> float:
        """Pixels from the left of the drawing."""
        share = (value - self.x.low) / (self.x.high - self.x.low)
        return round(self._left + share * self.inner_width, 2)

    def place_y(self, value: float) -> float:
        """Pixels from the top of the drawing."""
        share = (value - self.y.low) / (self.y.high - self.y.low)
        return round(self._top + (1.0 - share) * self.height, 2)

    def line(self, points: Iterable[Point], css: str) -> None:
        """Straight lines from point to point, in the colour of a CSS class."""
        self.marks.append(f'<polyline class="line {css}" points="{self._points(points)}"/>')

    def band(self, lower: Sequence[Point], upper: Sequence[Point], css: str) -> None:
        """The area between two lines."""
        self.marks.append(
            f'<polygon class="band {css}" points="{self._points([*lower, *reversed(upper)])}"/>'
        )

    def rule(self, *, x: float | None = None, y: float | None = None, css: str = "rule") -> None:
        """A line across the panel at a value."""
        if x is not None:
            at = self.place_x(x)
            self.marks.append(svg.line(at, self._top, at, self._top + self.height, css))
        if y is not None:
            at = self.place_y(y)
            self.marks.append(svg.line(self._left, at, self.width - self._right, at, css))

    def symbol(
        self, point: Point, css: str, *, shape: Shape = "dot", size: float = 3.0, title: str = ""
    ) -> None:
        """A small symbol at a point, with ``title`` as tooltip."""
        self.marks.append(svg.symbol(shape, self.place_x(point[0]), self.place_y(point[1]), size, css, title))

    def box(self, x: float, quantiles: Sequence[float], width: float, css: str, *, title: str = "") -> None:
        """A distribution: line from lowest to highest, box of the middle half, bar at the median.

        Args:
            x: position on the horizontal axis.
            quantiles: quantiles at 0, 25, 50, 75 and 100 %.
            width: width of the box in pixels.
            css: CSS class of its colour.
            title: tooltip.
        """
        low, lower, middle, upper, high = map(self.place_y, quantiles)
        at = self.place_x(x)
        left, right = round(at - width / 2, 2), round(at + width / 2, 2)
        self.marks.append(
            f'<g class="distribution {css}">{svg.line(at, low, at, high)}'
            f'<rect x="{left}" width="{width:.2f}" y="{upper}" height="{lower - upper:.2f}" rx="1.5"/>'
            f"{svg.line(left, middle, right, middle, 'median')}{svg.tooltip(title)}</g>"
        )

    def bar(self, x: float, ends: Point, width: float, css: str) -> None:
        """A bar of a width in pixels from one value to another."""
        bottom, top = sorted((self.place_y(ends[0]), self.place_y(ends[1])), reverse=True)
        left = self.place_x(x) - width / 2
        self.marks.append(svg.rectangle(left, top, width, bottom - top, f"dot {css}"))

    def interval(self, y: float, point: float, ends: Point | None, css: str, *, title: str = "") -> None:
        """An estimate on its own line: a bar over its interval, a stroke at the point."""
        at, top, thickness = self.place_x(point), self.place_y(y) - 6.0, 12.0
        bar = ""
        if ends is not None:
            left, right = sorted(map(self.place_x, ends))
            bar = svg.rectangle(left, top, right - left, thickness, "bar")
        stroke = svg.line(at, round(top, 2), at, round(top + thickness, 2), "estimate")
        self.marks.append(f'<g class="{css}">{bar}{stroke}{svg.tooltip(title)}</g>')

    def cells(self, corners: Iterable[Point], size: Point, css: str, opacity: float) -> None:
        """Rectangles of one size (in values) at their lower left corners."""
        width, height = (
            abs(self.inner_width * size[0] / (self.x.high - self.x.low)),
            abs(self.height * size[1] / (self.y.high - self.y.low)),
        )
        path = "".join(
            f"M{self.place_x(x):.1f} {self.place_y(y):.1f}h{width:.2f}v-{height:.2f}h-{width:.2f}z"
            for x, y in corners
        )
        if path:
            self.marks.append(f'<path class="cell {css}" fill-opacity="{opacity:.2f}" d="{path}"/>')

    def note(self, point: Point, content: str) -> None:
        """Text at a point."""
        self.marks.append(svg.text(self.place_x(point[0]), self.place_y(point[1]), content, "tick"))

    def svg(self, description: str, number: str) -> str:
        """The whole element. ``number`` distinguishes its clipping area from others in the same document."""
        size = f"{self.width:g} {self.total_height:g}"
        wide = " wide" if self.width > NARROW else ""
        return (
            f'<svg class="chart{wide}" viewBox="0 0 {size}" width="{self.width:g}" '
            f'height="{self.total_height:g}" role="img" aria-label="{escape(description)}">'
            f"{self.body(number)}</svg>"
        )

    def body(self, number: str) -> str:
        """Axes and marks, without the element around them."""
        bottom, right = self._top + self.height, self.width - self._right
        parts = []
        for value, label in self._y_labels.items():
            y = self.place_y(value)
            if self.y.grid:
                parts.append(svg.line(self._left, y, right, y, "grid"))
            parts.append(svg.text(self._left - 6, y + 4, label, "tick end"))
        for value, label in self._x_labels.items():
            x = self.place_x(value)
            if self.x.grid:
                parts.append(svg.line(x, self._top, x, bottom, "grid"))
            parts.append(svg.line(x, bottom, x, bottom + TICK, "axis"))
            half = CHARACTER * self._text * len(label) / 2  # a label at the edge must not leave the drawing
            middle = round(min(max(x, half), self.width - half), 2)
            parts.append(svg.text(middle, bottom + TICK + 13 * self._text, label, "tick middle"))
        clip = f"clip{number}"
        # The clipping area is a little larger than the panel, so that symbols at the edge are not cut.
        parts.append(
            f'<clipPath id="{clip}"><rect x="{self._left - 4:g}" y="{self._top - 4:g}" '
            f'width="{self.inner_width + 8:g}" height="{self.height + 8:g}"/></clipPath>'
            f'<g clip-path="url(#{clip})">{"".join(self.marks)}</g>'
        )
        if self._x_labels or self.x.title:
            parts.append(svg.line(self._left, bottom, right, bottom, "axis"))
        for place, line in enumerate(reversed(self._title)):
            parts.append(svg.text(0.0, self._top - 8 - LINE * self._text * place, line, "title"))
        if self.x.title:
            parts.append(svg.text(right, self.total_height - 5, self.x.title, "label end"))
        if self.y.title:
            turned = f"translate({12 * self._text:g} {self._top:g}) rotate(-90)"
            parts.append(f'<text class="label end" transform="{turned}">{escape(self.y.title)}</text>')
        return "".join(parts)

    def _points(self, points: Iterable[Point]) -> str:
        return " ".join(f"{self.place_x(x):.1f},{self.place_y(y):.1f}" for x, y in points)
