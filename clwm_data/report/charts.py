"""The charts of a report."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from clwm_data.families.base import SPLITS, Split
from clwm_data.pages.svg import Frame, drawing, span, text
from clwm_data.report.sample import Sample, projection
from clwm_data.store.format import TaskRecord

WIDTH = 960.0
LEFT, RIGHT, TOP, BOTTOM = 70.0, 12.0, 30.0, 44.0
LEVELS = 7  # of density
BINS = (56, 44)


def returns_chart(records: list[TaskRecord], sample: Sample) -> str:
    """Return against task, a panel per behaviour: from lowest to highest, the middle half, the median."""
    entries: dict[str, list[tuple[TaskRecord, NDArray[np.float64]]]] = {}
    for record in records:
        for behaviour, returns in sample.returns[record.index].items():
            if len(returns):
                label = record.behaviours[behaviour].label
                entries.setdefault(label, []).append((record, returns))
    every = np.concatenate([returns for panel in entries.values() for _, returns in panel])
    place = {record.index: position for position, record in enumerate(records)}
    columns = 1 if len(records) > 24 or len(entries) == 1 else 2
    width = (WIDTH - (columns - 1) * 8) / columns
    height, rows = 210.0 if len(entries) < 3 else 150.0, -(-len(entries) // columns)
    bar = min(11.0, 0.55 * (width - LEFT - RIGHT) / len(records))
    parts = []
    for number, (label, panel) in enumerate(entries.items()):
        frame = Frame(
            LEFT + (number % columns) * (width + 8),
            TOP + (number // columns) * (TOP + height + BOTTOM),
            width - LEFT - RIGHT,
            height,
            (-0.7, len(records) - 0.3),
            span(every),
        )
        named = [record.index for record in records][:: max(1, -(-len(records) // int(width / 30)))]
        parts += frame.axes(title=label, x_label="task", y_label="return", x_ticks=[])
        parts += [text(frame.x(place[i]), frame.top + height + 18, str(i), "tick middle") for i in named]
        for record, returns in panel:
            parts.append(_box(frame, frame.x(place[record.index]), bar, record, returns))
    return drawing(WIDTH, rows * (TOP + height + BOTTOM), parts, "Returns by task and behaviour")


def _box(frame: Frame, x: float, width: float, record: TaskRecord, returns: NDArray[np.float64]) -> str:
    quantiles = np.quantile(returns, [0.0, 0.25, 0.5, 0.75, 1.0]).tolist()
    low, lower, middle, upper, high = map(frame.y, quantiles)
    left, right = round(x - width / 2, 2), round(x + width / 2, 2)
    summary = f"median {quantiles[2]:.4g}, {quantiles[0]:.4g} to {quantiles[4]:.4g}, {len(returns)} episodes"
    return (
        f'<g class="{record.split}"><line x1="{x}" x2="{x}" y1="{low}" y2="{high}"/>'
        f'<rect x="{left}" width="{width:.2f}" y="{upper}" height="{lower - upper:.2f}" rx="1.5"/>'
        f'<line class="median" x1="{left}" x2="{right}" y1="{middle}" y2="{middle}"/>'
        f"<title>task {record.index}: {summary}</title></g>"
    )


def coverage_chart(rows: dict[Split, NDArray[np.float32]], what: str) -> str:
    """Where the data lies: a panel per split, over the same plane; darker where there is more."""
    plane, labels = projection(rows, what)
    splits = [split for split in SPLITS if split in plane]
    pooled = np.concatenate(list(plane.values()))
    # A few far points would squeeze all others: the plane shows all but 0.2 % of either axis.
    ranges = [span(np.quantile(pooled[:, axis], [0.001, 0.999]).tolist(), 0.08) for axis in (0, 1)]
    columns = max(2, len(splits))
    width = (WIDTH - LEFT - RIGHT - (columns - 1) * 22) / columns
    height = 215.0
    parts = []
    for number, split in enumerate(splits):
        frame = Frame(LEFT + number * (width + 22), TOP, width, height, ranges[0], ranges[1])
        parts += frame.axes(
            title=split,
            x_label=labels[0],
            y_label=labels[1] if number == 0 else "",
            y_numbers=number == 0,
        )
        count, x_edges, y_edges = np.histogram2d(plane[split][:, 0], plane[split][:, 1], BINS, ranges)
        level = np.ceil(LEVELS * np.log1p(count) / np.log1p(max(1.0, count.max()))).astype(int)
        cell_width, cell_height = width / BINS[0], height / BINS[1]
        for shade in range(1, LEVELS + 1):
            cells = "".join(
                f"M{frame.x(x_edges[i]):.1f} {frame.y(y_edges[j + 1]):.1f}h{cell_width:.2f}v{cell_height:.2f}"
                f"h-{cell_width:.2f}z"
                for i, j in np.argwhere(level == shade).tolist()
            )
            parts.append(f'<path class="{split} cell" fill-opacity="{shade / LEVELS:.2f}" d="{cells}"/>')
    return drawing(WIDTH, TOP + height + BOTTOM, parts, f"Coverage of {what}s")


def trajectories_chart(sample: Sample, colours: dict[str, int]) -> str:
    """Reward per step of some episodes of some tasks, coloured by behaviour.

    Args:
        sample: what was gathered.
        colours: label of a behaviour -> number of its colour.
    """
    shown = sample.trajectories
    every = np.concatenate([reward for task in shown for _, reward in task.rewards])
    longest = max(len(reward) for task in shown for _, reward in task.rewards)
    y_range = span(np.quantile(every, [0.002, 0.998]).tolist())
    width, height = (WIDTH - LEFT - RIGHT - 2 * 22) / 3, 140.0
    parts = []
    for number, task in enumerate(shown):
        column, row = number % 3, number // 3
        left, top = LEFT + column * (width + 22), TOP + row * (TOP + height + BOTTOM)
        frame = Frame(left, top, width, height, (0.0, longest), y_range)
        record = task.record
        parts += frame.axes(
            title=f"task {record.index}, {record.split}",
            x_label="step",
            y_label="reward" if column == 0 else "",
            y_numbers=column == 0,
        )
        parts.append(f'<svg x="0" y="0" overflow="hidden"><g clip-path="url(#clip{number})">')
        parts.append(
            f'<clipPath id="clip{number}"><rect x="{frame.left}" y="{frame.top}" width="{width}" '
            f'height="{height}"/></clipPath>'
        )
        for behaviour, reward in task.rewards:
            colour = colours[record.behaviours[behaviour].label]
            points = " ".join(f"{frame.x(step):.1f},{frame.y(value):.1f}" for step, value in _thinned(reward))
            parts.append(f'<polyline class="line b{colour}" points="{points}"/>')
        parts.append("</g></svg>")
    rows = -(-len(shown) // 3)
    return drawing(WIDTH, rows * (TOP + height + BOTTOM), parts, "Rewards of sample episodes")


def _thinned(reward: NDArray[np.float32], most: int = 250) -> list[tuple[float, float]]:
    """Step and reward; of long episodes the mean over a few steps at a time."""
    group = -(-len(reward) // most)
    means = [(start, reward[start : start + group].mean()) for start in range(0, len(reward), group)]
    return [(start + (group - 1) / 2, float(mean)) for start, mean in means]
