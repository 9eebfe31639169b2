"""Positions of a family's tasks along an axis: at their varying parameter, or one after the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from clwm_data.errors import ClwmError
from clwm_data.families.registry import get_family
from clwm_data.pages.panels import Axis, span

#: The parameters of a task: numbers, or several numbers at a time.
Parameters = Mapping[str, float | Sequence[float]]


@dataclass(frozen=True)
class TaskAxis:
    """Positions of tasks along an axis.

    Attributes:
        axis: the axis.
        places: task -> value on the axis.
        gap: smallest distance between two tasks, in values of the axis.
    """

    axis: Axis
    places: dict[int, float]
    gap: float

    def pixels(self, width: float) -> float:
        """The smallest distance between two tasks, in pixels, on an axis of a width in pixels."""
        return self.gap * width / (self.axis.high - self.axis.low)


def task_axis(family: str, tasks: Mapping[int, Parameters], most: int = 12) -> TaskAxis:
    """The axis for some tasks of a family.

    If exactly one number varies between the tasks and differs in each, tasks are placed at its value,
    otherwise one after the other.

    Args:
        family: name of the family, which defines units if it is known here.
        tasks: index -> parameters, for at least one task.
        most: maximum number of task numbers shown as ticks.
    """
    name = varying_parameter(list(tasks.values()))
    if name is not None:
        places = {index: float(_number(parameters[name])) for index, parameters in tasks.items()}
        values = sorted(places.values())
        gap = min(right - left for left, right in pairwise(values))
        low, high = span(values, 0.03)
        return TaskAxis(Axis(low, high, parameter_title(family, name)), places, gap)
    indices = sorted(tasks)
    step = -(-len(indices) // most)
    marks = {float(place): str(index) for place, index in enumerate(indices) if place % step == 0}
    axis = Axis(-0.7, len(indices) - 0.3, "task", marks)
    return TaskAxis(axis, {index: float(place) for place, index in enumerate(indices)}, 1.0)


def varying_parameter(tasks: Sequence[Parameters]) -> str | None:
    """The only number that varies between tasks, if no two of them have the same value.

    Vectors, also of some tasks only, are ignored: they follow from the single number if there is one (the
    goal from the angle), and cannot be placed on an axis otherwise.
    """
    vectors = {name for task in tasks for name, value in task.items() if isinstance(value, Sequence)}
    varying = [
        name for name in tasks[0] if name not in vectors and len({task.get(name) for task in tasks}) > 1
    ]
    if len(varying) != 1:
        return None
    values = [task.get(varying[0]) for task in tasks]
    return varying[0] if None not in values and len(set(values)) == len(tasks) else None


def parameter_title(family: str, name: str) -> str:
    """A parameter and its unit: ``velocity (m/s)``, ``mass scale``."""
    try:
        unit = get_family(family).units.get(name)
    except ClwmError:  # the family is not installed here
        unit = None
    words = name.replace("_", " ")
    return f"{words} ({unit})" if unit else words


def _number(value: float | Sequence[float]) -> float:
    if isinstance(value, Sequence):
        raise TypeError("a tuple cannot be placed on an axis")
    return value
