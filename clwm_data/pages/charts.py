"""Charts as SVG: panels with a common legend, coloured by CSS variables, for a page or as separate files.

A panel is a separate drawing: on a page, as many panels are placed side by side as fit into the window, with
text of constant size; in a file they form a fixed grid. Both follow the reader's light or dark mode.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files

from clwm_data.pages import svg
from clwm_data.pages.palette import css_classes, without_variables
from clwm_data.pages.panels import CHARACTER, LINE, Panel
from clwm_data.pages.svg import Shape

GAP = 20.0  # pixels between the panels of a file


@dataclass(frozen=True)
class LegendEntry:
    """A colour and what it means.

    Attributes:
        css: CSS class of its colour and pattern.
        label: plain text.
        shape: shape of the marks in that colour.
    """

    css: str
    label: str
    shape: Shape = "box"


@dataclass(frozen=True)
class Chart:
    """Panels that belong together, with a common legend.

    Attributes:
        panels: panels, in rows of ``columns``.
        description: text alternative for readers who cannot see the chart.
        legend: entries, drawn above the panels.
        columns: columns of the grid in a file, and their maximum on a page.
    """

    panels: Sequence[Panel]
    description: str
    legend: Sequence[LegendEntry] = ()
    columns: int = 3

    def html(self, name: str) -> str:
        """The chart within a page, in which ``name`` must be unique."""
        drawings = "".join(
            panel.svg(
                f"{self.description}: {panel.title}" if panel.title else self.description, f"-{name}-{i}"
            )
            for i, panel in enumerate(self.panels)
        )
        width = max(panel.width for panel in self.panels)
        most = f"max-width:{self.columns * (width + GAP):g}px"
        return f'{legend_html(self.legend)}<div class="panels" style="{most}">{drawings}</div>'

    def svg(self, title: str = "") -> str:
        """The chart as a separate file, with a title."""
        columns = min(self.columns, len(self.panels))
        width = columns * max(panel.width for panel in self.panels) + (columns - 1) * GAP
        parts, top = [], 12.0
        if title:
            parts.append(svg.text(12, top + 14, title, "heading"))
            top += 26
        legend, height = _legend_svg(self.legend, top, width)
        parts.append(legend)
        top += height
        for start in range(0, len(self.panels), columns):
            row = self.panels[start : start + columns]
            for column, panel in enumerate(row):
                left = 12 + column * (panel.width + GAP)
                parts.append(
                    f'<g transform="translate({left:g} {top:g})">{panel.body(str(start + column))}</g>'
                )
            top += max(panel.total_height for panel in row) + 8
        total = f"{width + 24:g} {top + 4:g}"
        style = without_variables(css_classes() + chart_css())
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" class="chart" viewBox="0 0 {total}" '
            f'width="{width + 24:g}" height="{top + 4:g}" role="img">'
            f"<title>{escape(title or self.description)}</title><style>{style}</style>"
            f'<rect class="paper" width="100%" height="100%"/>{"".join(parts)}</svg>\n'
        )


def chart_css() -> str:
    """The style of charts, in terms of the palette's variables."""
    return files("clwm_data.pages").joinpath("chart.css").read_text(encoding="utf-8")


def legend_html(entries: Iterable[LegendEntry]) -> str:
    """A line of colours and labels; nothing where there are no entries."""
    opening = '<svg class="chart" viewBox="0 0 18 12" width="18" height="12" aria-hidden="true">'
    items = "".join(
        f"<span>{opening + key + '</svg>' if (key := _key(entry, 9, 6)) else ''}{escape(entry.label)}</span>"
        for entry in entries
    )
    return f'<div class="legend">{items}</div>' if items else ""


def _legend_svg(entries: Sequence[LegendEntry], top: float, width: float) -> tuple[str, float]:
    """The legend within a drawing, broken into lines, and its height."""
    parts, left, y = [], 12.0, top + 10
    for entry in entries:
        wide = 26 + CHARACTER * len(entry.label) + 18
        if left > 12 and left + wide > width:
            left, y = 12.0, y + LINE + 2
        parts.append(_key(entry, left + 9, y) + svg.text(left + 24, y + 4, entry.label, "tick"))
        left += wide
    return "".join(parts), y - top + 16 if entries else 0.0


def _key(entry: LegendEntry, x: float, y: float) -> str:
    if entry.shape == "none":
        return ""
    if entry.shape == "line":
        return f'<polyline class="line {entry.css}" points="{x - 9:g},{y:g} {x + 9:g},{y:g}"/>'
    if entry.shape == "box":
        return f'<rect class="dot {entry.css}" x="{x - 6:g}" y="{y - 5.5:g}" width="11" height="11" rx="3"/>'
    return svg.symbol(entry.shape, x, y, 4.0, entry.css, "")
