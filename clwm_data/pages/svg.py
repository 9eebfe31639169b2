"""Charts as inline SVG: coloured by the page's CSS variables, so they follow its light and dark modes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

TICK, GAP = 4, 7  # pixels


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Round numbers within [low, high], at most ``most``, evenly spaced by 1, 2 or 5 times a power of ten."""
    span = high - low
    power = 10.0 ** math.floor(math.log10(span / most))
    step = next(power * factor for factor in (1, 2, 5, 10, 20) if span / (power * factor) <= most - 1)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(number * step, 12) for number in range(first, last + 1)]


def number(value: float) -> str:
    """A number for people, with a true minus sign."""
    text = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return text.replace("-", "−")


def span(values: Iterable[float], margin: float = 0.04) -> tuple[float, float]:
    """The range of some values, with a margin on both sides; never empty."""
    listed = list(values)
    low, high = min(listed), max(listed)
    pad = margin * (high - low) or max(1e-6, 0.1 * abs(high)) or 1.0
    return low - pad, high + pad


@dataclass(frozen=True)
class Frame:
    """The area of a chart within the drawing, and what its edges stand for.

    Attributes:
        left: pixels, as ``top``, ``width`` and ``height``.
        x_range: values at the left and the right edge.
        y_range: values at the lower and the upper edge.
    """

    left: float
    top: float
    width: float
    height: float
    x_range: tuple[float, float]
    y_range: tuple[float, float]

    def x(self, value: float) -> float:
        """Pixels from the left of the drawing."""
        low, high = self.x_range
        return round(self.left + (value - low) / (high - low) * self.width, 2)

    def y(self, value: float) -> float:
        """Pixels from the top of the drawing."""
        low, high = self.y_range
        return round(self.top + self.height - (value - low) / (high - low) * self.height, 2)

    def axes(
        self,
        *,
        title: str = "",
        x_label: str = "",
        y_label: str = "",
        x_ticks: Sequence[float] | None = None,
        y_numbers: bool = True,
    ) -> list[str]:
        """Grid lines, numbers and labels."""
        bottom, right = self.top + self.height, self.left + self.width
        parts = []
        for value in ticks(*self.y_range, most=max(2, round(self.height / 26))):
            y = self.y(value)
            parts.append(f'<line class="grid" x1="{self.left}" x2="{right}" y1="{y}" y2="{y}"/>')
            if y_numbers:
                parts.append(text(self.left - GAP, y + 4, number(value), "tick end"))
        for value in (
            ticks(*self.x_range, most=max(2, round(self.width / 70))) if x_ticks is None else x_ticks
        ):
            x = self.x(value)
            parts.append(f'<line class="axis" x1="{x}" x2="{x}" y1="{bottom}" y2="{bottom + TICK}"/>')
            parts.append(text(x, bottom + 18, number(value), "tick middle"))
        parts.append(f'<line class="axis" x1="{self.left}" x2="{right}" y1="{bottom}" y2="{bottom}"/>')
        if title:
            parts.append(text(self.left, self.top - 8, title, "title"))
        if x_label:
            parts.append(text(right, bottom + 34, x_label, "label end"))
        if y_label:
            parts.append(
                f'<text class="label end" transform="translate({self.left - 54} {self.top}) rotate(-90)">'
                f"{escape(y_label)}</text>"
            )
        return parts


def text(x: float, y: float, content: str, css: str) -> str:
    """One line of text."""
    return f'<text class="{css}" x="{x:g}" y="{y:g}">{escape(content)}</text>'


def drawing(width: float, height: float, parts: Iterable[str], description: str) -> str:
    """A whole SVG element that scales with the page."""
    return (
        f'<svg viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{escape(description)}">'
        f"{''.join(parts)}</svg>"
    )
