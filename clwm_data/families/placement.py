"""Where the tasks of a split lie relative to the train tasks, computed from the parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from clwm_data.families.base import SPLITS, Split, Task
from clwm_data.families.conditioning import flattened


@dataclass(frozen=True)
class Placement:
    """How many tasks of a split lie inside the range of the train tasks.

    A task is inside if each of its numbers lies between the smallest and the largest value of the train
    tasks, possibly in a gap between them.

    Attributes:
        inside: number of tasks inside.
        tasks: number of tasks of the split.
    """

    inside: int
    tasks: int

    def __str__(self) -> str:
        if self.inside in (0, self.tasks):
            return f"{'all' if self.inside else 'none'} inside the train range"
        return f"{self.inside} of {self.tasks} inside the train range"


def placements(tasks: Sequence[Task]) -> Mapping[Split, Placement]:
    """The placement of each split but ``train``.

    Empty where there are no train tasks, and where tasks differ in the names or sizes of their parameters.
    """
    rows = [(task.split, flattened(task.parameters)) for task in tasks]
    if any(list(row) != list(rows[0][1]) for _, row in rows):
        return {}
    numbers = {split: [list(row.values()) for its, row in rows if its == split] for split in SPLITS}
    train = np.asarray(numbers.pop("train"))
    if not train.size:
        return {}
    # The same number computed twice, such as the sine of an angle, may differ in its last bits.
    slack = 1e-9 * np.maximum(1.0, np.abs(train).max(axis=0))
    low, high = train.min(axis=0) - slack, train.max(axis=0) + slack
    return {
        split: Placement(
            sum(bool(((low <= row) & (row <= high)).all()) for row in map(np.asarray, held)), len(held)
        )
        for split, held in numbers.items()
        if held
    }
