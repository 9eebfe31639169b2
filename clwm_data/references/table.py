"""Reference returns that a user brings: a table, or a file as ``clwm behaviour reference`` writes it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from clwm_data.bounded import read_csv
from clwm_data.errors import InvalidInputError, NotFoundError
from clwm_data.references import defines_scale, no_scale, read_references

#: Task -> mean returns of random actions and of the expert.
References = Mapping[int, tuple[float, float]]
HEADER = ["task", "random", "expert"]


def read_reference_file(path: Path) -> References:
    """A CSV file with the columns ``task,random,expert``, or YAML as ``clwm behaviour reference`` writes it.

    Raises:
        NotFoundError: there is no such file.
        InvalidInputError: anything else is in it; the line is named.
    """
    if path.suffix in (".yaml", ".yml"):
        record = read_references(path)
        if len(record.random) != len(record.expert):
            raise InvalidInputError(
                f"{path}: random has {len(record.random)} returns, expert {len(record.expert)}: expected one "
                "of each per task"
            )
        pairs = dict(enumerate(zip(record.random, record.expert, strict=True)))
        for task, pair in pairs.items():
            if not defines_scale(*pair):
                raise InvalidInputError(f"{path}: task {task}: {no_scale(*pair)}")
        return pairs
    rows = read_csv(path)
    if not rows or [cell.strip() for cell in rows[0]] != HEADER:
        raise InvalidInputError(f"{path}: line 1: expected the columns {','.join(HEADER)}")
    table: dict[int, tuple[float, float]] = {}
    for number, cells in enumerate(rows[1:], 2):
        if not any(cell.strip() for cell in cells):
            continue
        try:
            task, (random, expert) = int(cells[0]), map(float, cells[1:])
        except ValueError:
            task, random, expert = -1, math.nan, math.nan
        if task < 0 or task in table or not (math.isfinite(random) and math.isfinite(expert)):
            raise InvalidInputError(
                f"{path}: line {number}: expected a task that is not listed before, and two finite numbers"
            )
        if not defines_scale(random, expert):
            raise InvalidInputError(f"{path}: line {number}: {no_scale(random, expert)}")
        table[task] = random, expert
    return table


def reference_of(references: References, task: int) -> tuple[float, float]:
    """The reference returns of a task.

    Raises:
        NotFoundError: there are none.
        InvalidInputError: they define no scale.
    """
    if task not in references:
        raise NotFoundError(f"the references say nothing about task {task}: add it, or evaluate other splits")
    random, expert = references[task]
    if not defines_scale(random, expert):
        raise InvalidInputError(f"the references of task {task}: {no_scale(random, expert)}")
    return random, expert
