"""The charts of a store's page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from clwm_data.families.base import SPLITS, Split
from clwm_data.pages.charts import Chart, LegendEntry
from clwm_data.pages.numbers import column, plural
from clwm_data.pages.palette import series_class
from clwm_data.pages.panels import Axis, Panel, span
from clwm_data.pages.task_axis import task_axis
from clwm_data.report.sample import Sample, projection
from clwm_data.store.format import TaskRecord

LEVELS = 7  # shades of density
BINS = (48, 30)
WIDE = 488.0
Returns = NDArray[np.float64]


def split_legend(splits: Sequence[Split]) -> list[LegendEntry]:
    """The colours of splits."""
    return [LegendEntry(split, split) for split in SPLITS if split in splits]


def returns_chart(family: str, records: Sequence[TaskRecord], sample: Sample) -> Chart:
    """Return against task, a panel per behaviour with common axes: range, middle half and median."""
    panels: dict[str, list[tuple[TaskRecord, Returns]]] = {}
    for record in records:
        for behaviour, returns in sample.returns[record.index].items():
            if len(returns):
                panels.setdefault(record.behaviours[behaviour].label, []).append((record, returns))
    all_values = np.concatenate([returns for entries in panels.values() for _, returns in entries])
    tasks = task_axis(family, {record.index: record.parameters for record in records})
    y = Axis(*span(all_values.tolist()), "return", grid=True)
    drawn = []
    for label, entries in panels.items():
        panel = Panel(tasks.axis, y, label, width=WIDE, height=190.0)
        width = min(11.0, max(1.5, 0.6 * tasks.pixels(panel.inner_width)))
        for record, returns in entries:
            quantiles = np.quantile(returns, [0.0, 0.25, 0.5, 0.75, 1.0]).tolist()
            low, _, middle, _, high = column(quantiles)
            title = (
                f"task {record.index}: median {middle}, {low} to {high}, {plural(len(returns), 'episode')}"
            )
            panel.box(tasks.places[record.index], quantiles, width, record.split, title=title)
        drawn.append(panel)
    legend = split_legend([record.split for record in records])
    return Chart(drawn, "Returns of every task", legend, columns=2)


def coverage_chart(rows: dict[Split, NDArray[np.float32]], what: str) -> Chart:
    """Density of the data: a panel per split, over the same plane; the more data, the stronger the colour.

    Data of a single entry is shown as a histogram per split.
    """
    if next(iter(rows.values())).shape[1] == 1:
        return _histograms({split: part[:, 0] for split, part in rows.items()}, what)
    plane, labels = projection(rows, what)
    pooled = np.concatenate(list(plane.values()))
    # A few far points would squeeze all others: the plane shows all but 0.2 % of either axis.
    ranges = [span(np.quantile(pooled[:, axis], [0.001, 0.999]).tolist(), 0.08) for axis in (0, 1)]
    panels = []
    for split in (split for split in SPLITS if split in plane):
        panel = Panel(
            Axis(*ranges[0], labels[0]), Axis(*ranges[1], labels[1], grid=True), split, height=200.0
        )
        count, x_edges, y_edges = np.histogram2d(plane[split][:, 0], plane[split][:, 1], BINS, ranges)
        level = np.ceil(LEVELS * np.log1p(count) / np.log1p(max(1.0, count.max()))).astype(int)
        size = float(x_edges[1] - x_edges[0]), float(y_edges[1] - y_edges[0])
        for shade in range(1, LEVELS + 1):
            corners = [(float(x_edges[i]), float(y_edges[j])) for i, j in np.argwhere(level == shade)]
            panel.cells(corners, size, split, shade / LEVELS)
        panels.append(panel)
    return Chart(panels, f"Coverage of {what}s")


def _histograms(values: dict[Split, NDArray[np.float32]], what: str) -> Chart:
    """The share of the values [n] of each split in bins of one width."""
    low, high = span(np.quantile(np.concatenate(list(values.values())), [0.001, 0.999]).tolist(), 0.02)
    edges = np.linspace(low, high, BINS[0] + 1)
    shares = {
        split: np.histogram(values[split], edges)[0] / len(values[split])
        for split in SPLITS
        if split in values
    }
    highest = max(float(share.max()) for share in shares.values())
    x, y = Axis(low, high, f"{what} 0"), Axis(0.0, 1.05 * highest, "share", grid=True)
    panels = []
    for split, share in shares.items():
        panel = Panel(x, y, split, height=140.0)
        for left, right, height in zip(edges, edges[1:], share, strict=False):
            panel.bar((left + right) / 2, (0.0, float(height)), panel.inner_width / BINS[0], split)
        panels.append(panel)
    return Chart(panels, f"Coverage of {what}s")


def trajectories_chart(sample: Sample, series: Mapping[str, int]) -> Chart:
    """Reward per step of some episodes of some tasks, coloured by behaviour.

    Args:
        sample: data gathered from the store.
        series: label of a behaviour -> number of its colour.
    """
    shown = sample.trajectories
    all_values = np.concatenate([reward for task in shown for _, reward in task.rewards])
    longest = max(len(reward) for task in shown for _, reward in task.rewards)
    x = Axis(0.0, float(longest), "step")
    y = Axis(*span(np.quantile(all_values, [0.002, 0.998]).tolist()), "reward", grid=True)
    panels = []
    for task in shown:
        panel = Panel(x, y, f"task {task.record.index}, {task.record.split}", height=140.0)
        for behaviour, reward in task.rewards:
            label = task.record.behaviours[behaviour].label
            panel.line(_thinned(reward), series_class(series[label]))
        panels.append(panel)
    legend = [LegendEntry(series_class(place), label, "line") for label, place in series.items()]
    return Chart(panels, "Rewards of sample episodes", legend)


def _thinned(reward: NDArray[np.float32], most: int = 250) -> list[tuple[float, float]]:
    """(step, reward) pairs; for long episodes, means over groups of consecutive steps."""
    group = -(-len(reward) // most)
    means = [(start, reward[start : start + group].mean()) for start in range(0, len(reward), group)]
    return [(start + (group - 1) / 2, float(mean)) for start, mean in means]
