"""Tasks declared in YAML: one by one, as a grid, or sampled from ranges."""

from __future__ import annotations

import itertools
import math
import zlib
from collections.abc import Iterator
from typing import Annotated

import numpy as np
from pydantic import Field, field_validator, model_validator

from clwm_data.families.base import SPLITS, Split, Task, with_tuples
from clwm_data.ranges import parse_indices
from clwm_data.strict import StrictModel, Text

MOST_TASKS = 100_000
#: Maximum number of parameters of a task, and of those of all tasks: each is drawn, checked and stored.
MOST_PARAMETERS = 100
MOST_VALUES = 1_000_000

Number = Annotated[float, Field(allow_inf_nan=False)]
Interval = Annotated[list[Number], Field(min_length=2, max_length=2)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z_]\w*$", max_length=100)]


class ListedTask(StrictModel):
    """One task.

    Attributes:
        parameters: numbers, or lists of numbers, by name.
        split: ``train``, ``id`` or ``ood``.
    """

    parameters: dict[Name, Number | list[Number]] = Field(min_length=1, max_length=MOST_PARAMETERS)
    split: Split = "train"


class Steps(StrictModel):
    """``count`` values from ``start`` to ``stop``, both included, evenly spaced (``log``: geometrically)."""

    start: Number
    stop: Number
    count: int = Field(ge=1, le=MOST_TASKS)
    log: bool = False

    @model_validator(mode="after")
    def _has_a_logarithm(self) -> Steps:
        if self.log and min(self.start, self.stop) <= 0.0:
            raise ValueError("values that are spaced by their ratio (log: true) must be above 0")
        _check_length(self.start, self.stop)
        return self

    def __len__(self) -> int:
        """Number of values, without making them."""
        return self.count

    def values(self) -> list[float]:
        """The values."""
        space = np.geomspace if self.log else np.linspace
        return [float(value) for value in space(self.start, self.stop, self.count)]


class GridTasks(StrictModel):
    """Every combination of some values; the last parameter varies fastest.

    Attributes:
        grid: values of each parameter.
        id: indices of held-out tasks, such as ``1,4,7`` or ``0-3``.
        ood: indices of held-out tasks that are meant to be out of distribution; the others are train tasks.
    """

    grid: dict[Name, list[Number] | Steps] = Field(min_length=1, max_length=MOST_PARAMETERS)
    id: Text = ""
    ood: Text = ""

    @field_validator("id", "ood", mode="before")
    @classmethod
    def _one_index(cls, value: object) -> object:
        return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


class Range(StrictModel):
    """The ranges that a parameter is drawn from.

    Attributes:
        range: [low, high] of train and id tasks.
        ood: ranges of ood tasks; one of them is drawn in proportion to its length, then a value in it. Tasks
            of the ood split draw parameters without such ranges from ``range``.
        log: uniform in the logarithm.
    """

    range: Interval
    ood: list[Interval] = Field(default_factory=list)
    log: bool = False

    @field_validator("ood", mode="before")
    @classmethod
    def _are_ranges(cls, ood: object) -> object:
        if isinstance(ood, list) and ood and all(isinstance(end, int | float) for end in ood):
            raise ValueError(f"expected a list of ranges: write [{ood}]")
        return ood

    @model_validator(mode="after")
    def _is_ordered(self) -> Range:
        for low, high in (self.range, *self.ood):
            if low > high or (self.log and low <= 0.0):
                above = " and above 0 (log: true)" if self.log else ""
                raise ValueError(
                    f"[{low:g}, {high:g}] is not a range: the first number is the lower one{above}"
                )
            _check_length(low, high)
        return self

    def draw(self, generator: np.random.Generator, split: Split) -> float:
        """A value for a task of a split."""
        intervals = self.ood if split == "ood" and self.ood else [self.range]
        ends = [[math.log(end) if self.log else end for end in interval] for interval in intervals]
        lengths = np.asarray([high - low for low, high in ends])
        total = lengths.sum()
        weights = lengths / total if total > 0.0 else np.full(len(ends), 1.0 / len(ends))
        low, high = ends[int(generator.choice(len(ends), p=weights))]
        value = float(generator.uniform(low, high))
        return math.exp(value) if self.log else value


class Counts(StrictModel):
    """How many tasks each split has."""

    train: int = Field(ge=1, le=MOST_TASKS)
    id: int = Field(default=0, ge=0, le=MOST_TASKS)
    ood: int = Field(default=0, ge=0, le=MOST_TASKS)


class SampledTasks(StrictModel):
    """Tasks whose parameters are drawn independently.

    Attributes:
        sample: number of tasks of each split.
        parameters: the ranges of each parameter; ``[low, high]`` for short.
        seed: seed of the draws.
    """

    sample: Counts
    parameters: dict[Name, Range] = Field(min_length=1, max_length=MOST_PARAMETERS)
    seed: int = Field(default=0, ge=0, lt=2**63)

    @field_validator("parameters", mode="before")
    @classmethod
    def _in_short(cls, parameters: object) -> object:
        if not isinstance(parameters, dict):
            return parameters
        return {
            name: {"range": value} if isinstance(value, list) else value for name, value in parameters.items()
        }

    @model_validator(mode="after")
    def _has_somewhere_to_go(self) -> SampledTasks:
        if self.sample.ood and not any(where.ood for where in self.parameters.values()):
            raise ValueError("ood tasks need ranges of their own: give a parameter the key ood")
        values = (self.sample.train + self.sample.id + self.sample.ood) * len(self.parameters)
        if values > MOST_VALUES:
            raise ValueError(f"the tasks have {values:,} parameters together; {MOST_VALUES:,} are allowed")
        return self


def listed_tasks(tasks: list[ListedTask] | GridTasks | SampledTasks) -> tuple[Task, ...]:
    """The tasks that a declaration lists, spans or samples.

    Raises:
        ValueError: there are none, too many, no train task, a repeated task, or tasks whose parameters have
            different names.
    """
    if isinstance(tasks, GridTasks):
        result = tuple(_grid(tasks))
    elif isinstance(tasks, SampledTasks):
        result = tuple(_sampled(tasks))
    else:
        result = tuple(
            Task(index, task.split, with_tuples(task.parameters)) for index, task in enumerate(tasks)
        )
    if not any(task.split == "train" for task in result):
        raise ValueError("there is no train task")
    names = list(result[0].parameters)
    for task in result:
        if sorted(task.parameters) != sorted(names):
            raise ValueError(
                f"task {task.index} has the parameters {', '.join(task.parameters)}, task 0 has "
                f"{', '.join(names)}: all tasks name the same"
            )
    return tuple(
        Task(task.index, task.split, {name: task.parameters[name] for name in names}) for task in result
    )


def _grid(tasks: GridTasks) -> Iterator[Task]:
    count = math.prod(map(len, tasks.grid.values()))
    if not 1 <= count <= MOST_TASKS:
        raise ValueError(f"the grid has {_number(count)} tasks; 1 to {MOST_TASKS:,} are allowed")
    axes = [values.values() if isinstance(values, Steps) else values for values in tasks.grid.values()]
    splits: dict[int, Split] = dict.fromkeys(range(count), "train")
    for split in SPLITS[1:]:
        text = getattr(tasks, split)
        for index in parse_indices(text, range(count)) if text else ():
            if splits[index] != "train":
                raise ValueError(f"task {index} is in two splits: {splits[index]} and {split}")
            splits[index] = split
    for index, values in enumerate(itertools.product(*axes)):
        yield Task(index, splits[index], dict(zip(tasks.grid, values, strict=True)))


def _sampled(tasks: SampledTasks) -> Iterator[Task]:
    index = itertools.count()
    for split in SPLITS:
        # A generator per split and parameter: adding tasks to one split leaves the others unchanged.
        generators = {
            name: np.random.default_rng([tasks.seed, zlib.crc32(split.encode()), zlib.crc32(name.encode())])
            for name in tasks.parameters
        }
        for _ in range(getattr(tasks.sample, split)):
            drawn = {name: where.draw(generators[name], split) for name, where in tasks.parameters.items()}
            yield Task(next(index), split, drawn)


def _number(count: int) -> str:
    return f"{count:,}" if count < 10**15 else "more than 10^15"


def _check_length(start: float, stop: float) -> None:
    """Refuse what cannot be divided or drawn from: its length is more than a float holds."""
    if not math.isfinite(stop - start):
        raise ValueError(f"{start:g} to {stop:g} is too long: the difference is no finite number")
