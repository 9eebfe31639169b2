"""What families of others must be: each fault in their code is one line, not a traceback of ours."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from numbers import Real
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from clwm_data.errors import ClwmError, InvalidInputError, UnavailableError
from clwm_data.families.base import NAME, Split, Task, TaskFamily
from clwm_data.functions import FOREIGN_ERRORS, in_short
from clwm_data.ranges import whole
from clwm_data.yaml_values import shown

if TYPE_CHECKING:
    from clwm_data.families.simulation.simulator import Simulator

#: Attributes that are whole numbers.
SIZES = ("observation_size", "action_size", "horizon")
#: What a family has to have.
REQUIRED = ("name", "benchmark", "summary", *SIZES)
#: Key of a family's own attributes that says that its simulator was tried. (A set would need a hash.)
TRIED = "_simulator_was_tried"


def check_name(name: object, owner: str) -> None:
    """Refuse what cannot be the name of a family, which becomes a part of Gymnasium's ids.

    Raises:
        InvalidInputError: see above; ``owner`` is named.
    """
    if not isinstance(name, str) or not re.fullmatch(NAME, name):
        raise InvalidInputError(
            f"{owner}: its name is {shown(name)}: give a family a name of letters, digits and . _ -"
        )


def check_attributes(family: TaskFamily) -> None:
    """Check that a family has all attributes that it must have; what is computed is not, as it may be slow.

    Raises:
        InvalidInputError: one is missing, or a size is no whole number.
    """
    for name in REQUIRED:
        if inspect.getattr_static(family, name, None) is None:
            raise InvalidInputError(f"family {family.name}: {type(family).__name__} has no {name}: set it")
    for name in SIZES:
        value = inspect.getattr_static(family, name)
        if not hasattr(value, "__get__") and (whole(value) or 0) < 1:
            raise InvalidInputError(
                f"family {family.name}: {name} is {shown(value)}, expected a whole number from 1 on"
            )


def check_tasks(family: str, tasks: Sequence[Task]) -> None:
    """Check splits and parameters of tasks; what the family itself lists is not changed.

    Raises:
        InvalidInputError: no tasks, another split, or a parameter that is no number and no tuple of numbers.
    """
    if not tasks:
        raise InvalidInputError(f"family {family}: lists no tasks")
    for task in tasks:
        if task.split not in get_args(Split):
            raise InvalidInputError(
                f"family {family}: task {task.index}: {shown(task.split)} is not one of "
                f"{', '.join(get_args(Split))}"
            )
        for name, value in task.parameters.items():
            parts = value if isinstance(value, tuple) else (value,)
            if not parts or not all(isinstance(part, int | float) and is_finite(part) for part in parts):
                raise InvalidInputError(
                    f"family {family}: task {task.index}: parameter {name!r} is {shown(value)}, expected a "
                    "finite float or a tuple of them"
                )


def is_finite(number: object) -> bool:
    """Whether something is a finite number."""
    try:
        return isinstance(number, Real) and not isinstance(number, bool) and math.isfinite(number)
    except OverflowError:  # an integer that is too large for a float
        return False


def is_ours(family: TaskFamily) -> bool:
    """Whether the family's code is clwm's, which keeps to what a simulator has to do."""
    return type(family).__module__.startswith("clwm_data.")


def connect(family: TaskFamily, tasks: Sequence[int], **options: Any) -> Simulator:
    """A family's simulator; one of others is tried first, once, for a step.

    Raises:
        InvalidInputError: it does not give what a simulator has to give.
        UnavailableError: its code raises an error.
    """
    if is_ours(family) or TRIED in vars(family):
        return family.make_simulator(tasks, **options)
    try:
        check_tasks(family.name, family.tasks)
        trial = family.make_simulator([family.tasks[0].index, family.tasks[-1].index], **options)
        try:
            _check_simulator(family, trial)
        finally:
            trial.close()
    except ClwmError:
        raise
    except FOREIGN_ERRORS as error:
        raise UnavailableError(f"family {family.name}: its simulator fails: {in_short(error)}") from error
    vars(family)[TRIED] = True
    return family.make_simulator(tasks, **options)


def _check_simulator(family: TaskFamily, simulator: Simulator) -> None:
    from clwm_data.families.simulation.simulator import StepResult

    name, lanes = family.name, 2
    simulator.reset(np.arange(lanes), [0, 1])
    _check_shape(name, "observe()", simulator.observe(), (lanes, family.observation_size))
    state = simulator.get_state(0)
    result = simulator.step(np.zeros((lanes, family.action_size)), np.ones(lanes, np.bool_))
    if not isinstance(result, StepResult):
        raise InvalidInputError(
            f"family {name}: step() gives a {type(result).__name__}, expected a StepResult (of clwm_data)"
        )
    for field in ("reward", "terminated", "truncated", "success", "dense_reward"):
        values = getattr(result, field)
        if values is not None:
            _check_shape(name, f"step(): {field}", values, (lanes,))
    for flag, field in (("has_success", "success"), ("has_dense_reward", "dense_reward")):
        if getattr(family, flag) != (getattr(result, field) is not None):
            gives = "none" if getattr(family, flag) else "one"
            raise InvalidInputError(
                f"family {name}: {flag} is {getattr(family, flag)}, but step() gives {gives}: make them agree"
            )
    _check_shape(name, "observe()", simulator.observe(), (lanes, family.observation_size))
    simulator.set_state(0, state)


def _check_shape(family: str, what: str, values: object, shape: tuple[int, ...]) -> None:
    if not isinstance(values, np.ndarray) or values.shape != shape or values.dtype.kind not in "fiub":
        found = (
            f"an array of {values.dtype} of shape {list(values.shape)}"
            if isinstance(values, np.ndarray)
            else f"a {type(values).__name__}"
        )
        raise InvalidInputError(
            f"family {family}: {what} gives {found}, expected numbers of shape {list(shape)} for {shape[0]} "
            "lanes"
        )


def checked_parameters(where: str, parameters: Mapping[str, object]) -> dict[str, float | tuple[float, ...]]:
    """Parameters as numbers and tuples of numbers, whatever kind of numbers and sequences they are.

    Raises:
        InvalidInputError: one is something else.
    """
    checked: dict[str, float | tuple[float, ...]] = {}
    for name, value in parameters.items():
        numbers: Iterable[Any] = np.ravel(np.asarray(value, object)).tolist()
        if not name or not numbers or not all(map(is_finite, numbers)):
            raise InvalidInputError(
                f"{where}: parameter {name!r} is {value!r}, expected a finite number or a tuple of them"
            )
        checked[name] = tuple(map(float, numbers)) if np.ndim(value) else float(next(iter(numbers)))  # type: ignore[arg-type]
    return checked
