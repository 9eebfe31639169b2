"""The returns of a store as a small SVG: drawn by hand, so that sharing needs no plotting library."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from clwm_data.families.base import SPLITS, Split
from clwm_data.store.format import TaskRecord

WIDTH, HEIGHT = 860, 300
LEFT, RIGHT, TOP, BOTTOM = 70, 16, 40, 44

#: Colours that people with colour blindness can tell apart (Okabe and Ito).
COLOURS: dict[Split, str] = {"train": "#0072B2", "id": "#009E73", "ood": "#D55E00"}


def returns_figure(name: str, records: Sequence[TaskRecord]) -> str:
    """An SVG of the returns of every task, in the order of the tasks: range, and mean of every behaviour.

    Args:
        name: of the dataset, for the title.
        records: metadata of its tasks, at least one.
    """
    records = sorted(records, key=lambda record: record.index)
    low = min(record.statistics.returns.min for record in records)
    high = max(record.statistics.returns.max for record in records)
    ticks = axis_ticks(low, high)
    low, high = min(low, ticks[0]), max(high, ticks[-1])
    step = (WIDTH - LEFT - RIGHT) / len(records)

    def x(position: float) -> str:
        return _number(LEFT + (position + 0.5) * step)

    def y(value: float) -> str:
        return _number(TOP + (HEIGHT - TOP - BOTTOM) * (high - value) / ((high - low) or 1.0))

    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" '
        f'height="{HEIGHT}" font-family="Helvetica, Arial, sans-serif" font-size="12" fill="#222">',
        f"<title>{escape(name)}: returns per task</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        f'<text x="{LEFT}" y="22" font-size="14">{escape(name)}: return per episode</text>',
        *_legend([split for split in SPLITS if any(record.split == split for record in records)]),
    ]
    for tick in ticks:
        lines.append(
            f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(tick)}" y2="{y(tick)}" stroke="#ddd"/>'
            f'<text x="{LEFT - 8}" y="{y(tick)}" dy="4" text-anchor="end">{tick:g}</text>'
        )
    every = math.ceil(len(records) / 25)
    width = _number(min(14.0, 0.6 * step))
    for position, record in enumerate(records):
        colour, returns = COLOURS[record.split], record.statistics.returns
        lines.append(
            f'<line x1="{x(position)}" x2="{x(position)}" y1="{y(returns.min)}" y2="{y(returns.max)}" '
            f'stroke="{colour}" stroke-opacity="0.3" stroke-width="{width}"/>'
        )
        means = [returns.mean for returns in record.statistics.returns_by_behaviour if returns is not None]
        lines += [f'<circle cx="{x(position)}" cy="{y(mean)}" r="2.5" fill="{colour}"/>' for mean in means]
        if position % every == 0:
            lines.append(
                f'<text x="{x(position)}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">'
                f"{record.index}</text>"
            )
    lines.append(f'<text x="{WIDTH / 2:g}" y="{HEIGHT - 8}" text-anchor="middle">task</text>')
    return "\n".join([*lines, "</svg>", ""])


def axis_ticks(low: float, high: float) -> list[float]:
    """Round numbers, about five, that span an interval; one where there is nothing to tell apart."""
    if high - low <= max(abs(low), abs(high)) * 1e-9 + 1e-300:
        return [low]
    rough = (high - low) / 4
    unit = 10.0 ** math.floor(math.log10(rough))
    step = unit * next(factor for factor in (1, 2, 5, 10) if factor * unit >= rough)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [number * step for number in range(first, last + 1)]


def _legend(splits: Sequence[Split]) -> list[str]:
    parts = []
    for number, split in enumerate(reversed(splits)):
        right = WIDTH - RIGHT - 64 * number
        parts.append(
            f'<circle cx="{right - 48}" cy="18" r="5" fill="{COLOURS[split]}"/>'
            f'<text x="{right - 38}" y="22">{split}</text>'
        )
    right = WIDTH - RIGHT - 64 * len(splits)
    parts.append(f'<text x="{right - 8}" y="22" text-anchor="end">bar: all episodes, dot: a behaviour</text>')
    return parts


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
