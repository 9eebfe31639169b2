"""The elements of a drawing, as SVG. Coordinates are pixels; ``css`` names classes of ``chart.css``."""

from __future__ import annotations

from html import escape
from typing import Literal

Shape = Literal["line", "dot", "ring", "square", "triangle", "box", "none"]


def symbol(shape: Shape, x: float, y: float, size: float, css: str, title: str) -> str:
    """A mark at a point; its size is a radius in pixels."""
    kind = "ring" if shape == "ring" else "dot"
    if shape == "square":
        side = 1.8 * size
        body = f'x="{x - side / 2:.2f}" y="{y - side / 2:.2f}" width="{side:.2f}" height="{side:.2f}"'
        return f'<rect class="{kind} {css}" {body}>{tooltip(title)}</rect>'
    if shape == "triangle":
        corners = f"{x:.2f},{y - 1.2 * size:.2f} {x - 1.1 * size:.2f},{y + 0.8 * size:.2f} "
        corners += f"{x + 1.1 * size:.2f},{y + 0.8 * size:.2f}"
        return f'<polygon class="{kind} {css}" points="{corners}">{tooltip(title)}</polygon>'
    return f'<circle class="{kind} {css}" cx="{x:g}" cy="{y:g}" r="{size:g}">{tooltip(title)}</circle>'


def line(x1: float, y1: float, x2: float, y2: float, css: str = "") -> str:
    """A straight line."""
    name = f' class="{css}"' if css else ""
    return f'<line{name} x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}"/>'


def rectangle(x: float, y: float, width: float, height: float, css: str) -> str:
    """A rectangle."""
    size = f'x="{x:.2f}" y="{y:.2f}" width="{width:.2f}" height="{height:.2f}"'
    return f'<rect class="{css}" {size}/>'


def text(x: float, y: float, content: str, css: str) -> str:
    """One line of plain text."""
    return f'<text class="{css}" x="{x:g}" y="{y:g}">{escape(content)}</text>'


def tooltip(content: str) -> str:
    """A tooltip; nothing for an empty text."""
    return f"<title>{escape(content)}</title>" if content else ""
