"""Splits and parameters of foreign tasks, as users give them: ``train:0-29,id:30-39`` and a CSV table."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from clwm_data.bounded import read_csv
from clwm_data.errors import InvalidInputError, NotFoundError
from clwm_data.families import Task
from clwm_data.families.base import Parameters, Split
from clwm_data.families.stored import FamilyFacts
from clwm_data.pages.numbers import plural
from clwm_data.ranges import parse_indices
from clwm_data.suggestions import suggestion

SPLITS = get_args(Split)
MAX_TASKS = 100_000


@dataclass(frozen=True)
class TaskTable:
    """What is known of the tasks.

    Attributes:
        splits: task -> split; ``None`` if all are train tasks.
        parameters: task -> its parameters (numbers, or tuples of numbers); ``None`` if they are unknown.
        facts: what else is known of the family; ``None``: nothing.
    """

    splits: Mapping[int, Split] | None = None
    parameters: Mapping[int, Parameters] | None = None
    facts: FamilyFacts | None = None

    def completed(self, other: TaskTable | None) -> TaskTable:
        """The same with what only the other table says."""
        if other is None:
            return self
        return TaskTable(
            self.splits if self.splits is not None else other.splits,
            self.parameters if self.parameters is not None else other.parameters,
            self.facts if self.facts is not None else other.facts,
        )

    def task(self, index: int) -> Task:
        """The description of a task.

        Raises:
            NotFoundError: splits or parameters are given, but not for this task.
        """
        for what, known in (("--splits", self.splits), ("--parameters", self.parameters)):
            if known is not None and index not in known:
                raise NotFoundError(f"{what}: says nothing about task {index}")
        split: Split = "train" if self.splits is None else self.splits[index]
        return Task(index, split, {} if self.parameters is None else self.parameters[index])


def parse_splits(text: str) -> dict[int, Split]:
    """Task -> split of ``train:0-29,33,id:30-32``; a part without a name continues the split before it.

    Raises:
        InvalidInputError: any other text, or a task in two splits.
    """
    splits: dict[int, Split] = {}
    current: Split | None = None
    for part in text.split(","):
        name, colon, selection = part.rpartition(":")
        if colon:
            if name.strip() not in SPLITS:
                meant = suggestion(name, SPLITS)
                raise InvalidInputError(
                    f"--splits {text!r}: {name.strip()!r} is not one of {', '.join(SPLITS)}"
                    f"{f': {meant}' if meant else ''}"
                )
            current = next(split for split in SPLITS if split == name.strip())
        if current is None:
            raise InvalidInputError(f"--splits {text!r}: write the splits as in train:0-29,id:30-39")
        for index in parse_indices(selection, range(MAX_TASKS)):
            if index in splits:
                raise InvalidInputError(f"--splits {text!r}: task {index} is in it twice")
            splits[index] = current
    return splits


def read_parameters(path: Path) -> dict[int, dict[str, float]]:
    """Task -> parameters of a CSV file with a header: a column ``task``, and one column per parameter.

    Raises:
        NotFoundError: there is no such file.
        InvalidInputError: any other content; the line is named.
    """
    lines = read_csv(path)
    header = [name.strip() for name in lines[0]] if lines else []
    names = [name for name in header if name != "task"]
    if header.count("task") != 1 or len(set(header)) != len(header) or not names:
        raise InvalidInputError(f"{path}: line 1: expected a column task and one column per parameter")
    for name in names:
        if not re.fullmatch(r"[A-Za-z_][\w.-]{0,63}", name):
            raise InvalidInputError(f"{path}: line 1: {name!r} cannot be the name of a parameter")
    table: dict[int, dict[str, float]] = {}
    for number, cells in enumerate(lines[1:], 2):
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) != len(header):
            raise InvalidInputError(
                f"{path}: line {number}: has {plural(len(cells), 'cell')}, the header {len(header)}"
            )
        values = {
            name: _number(cell, f"{path}: line {number}: {name}")
            for name, cell in zip(header, cells, strict=True)
        }
        index = values.pop("task")
        if index != int(index) or not 0 <= index < MAX_TASKS or int(index) in table:
            raise InvalidInputError(
                f"{path}: line {number}: task {index:g} is not an index, or is listed twice"
            )
        table[int(index)] = values
    return table


def _number(cell: str, where: str) -> float:
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InvalidInputError(f"{where}: {cell.strip()!r} is not a finite number")
    return value
