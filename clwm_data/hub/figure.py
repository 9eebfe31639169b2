"""The returns of a store as an SVG for its card."""

from __future__ import annotations

from collections.abc import Sequence

from clwm_data.families.base import SPLITS
from clwm_data.pages.charts import Chart, LegendEntry
from clwm_data.pages.numbers import number
from clwm_data.pages.panels import Axis, Panel, span
from clwm_data.pages.task_axis import task_axis
from clwm_data.store.format import TaskRecord

WIDTH, HEIGHT = 860.0, 220.0


def returns_figure(name: str, family: str, records: Sequence[TaskRecord]) -> str:
    """An SVG of the returns of every task: their range, and the mean of every behaviour.

    Args:
        name: of the dataset, for the title.
        family: of its tasks.
        records: metadata of its tasks, at least one.
    """
    records = sorted(records, key=lambda record: record.index)
    tasks = task_axis(family, {record.index: record.parameters for record in records}, most=25)
    ends = [
        end for record in records for end in (record.statistics.returns.min, record.statistics.returns.max)
    ]
    panel = Panel(tasks.axis, Axis(*span(ends), "return", grid=True), width=WIDTH, height=HEIGHT)
    thickness = min(14.0, max(1.5, 0.6 * tasks.pixels(panel.inner_width)))
    for record in records:
        place, returns = tasks.places[record.index], record.statistics.returns
        panel.bar(place, (returns.min, returns.max), thickness, f"{record.split} faint")
        for behaviour, part in zip(record.behaviours, returns_by_behaviour(record), strict=True):
            if part is not None:
                title = f"task {record.index}, {behaviour.label}: mean return {number(part)}"
                panel.symbol((place, part), record.split, size=2.5, title=title)
    legend = [
        LegendEntry(split, split) for split in SPLITS if any(record.split == split for record in records)
    ]
    note = LegendEntry("", "bar: all episodes of a task, dots: means of its behaviours", "none")
    return Chart([panel], f"{name}: returns of every task", [*legend, note], columns=1).svg(
        f"{name}: return per episode"
    )


def returns_by_behaviour(record: TaskRecord) -> list[float | None]:
    """The mean return of every behaviour of a task; ``None`` for those without episodes."""
    return [None if part is None else part.mean for part in record.statistics.returns_by_behaviour]
