"""Families that users write: each mistake in their code is one line that names the family and the mistake."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import clwm_data
from clwm_data import Simulator, StepResult, Task, TaskFamily
from clwm_data.errors import ClwmError
from clwm_data.families import registry
from clwm_data.families.registry import get_family, register_family


class Still(Simulator):
    """Nothing moves."""

    def __init__(self, tasks: Any) -> None:
        self.tasks = np.asarray(tasks, np.int64)

    def reset(self, lanes: Any, seeds: Any) -> None:
        pass

    def step(self, action: Any, active: Any) -> Any:
        return StepResult(np.zeros(len(self.tasks)), np.zeros(len(self.tasks), np.bool_))

    def observe(self) -> Any:
        return np.zeros((len(self.tasks), 2))

    def get_state(self, lane: int) -> Any:
        return np.zeros(1)

    def set_state(self, lane: int, state: Any) -> None:
        pass


class Base(TaskFamily):
    name = "still-here"
    benchmark = "mine"
    summary = "nothing moves"
    observation_size = 2
    action_size = 1
    horizon = 3
    kind: type[Still] = Still

    def list_tasks(self) -> Any:
        return [Task(index, "train", {"a": 1.0 + index}) for index in range(2)]

    def make_simulator(self, tasks: Any, *, threads: int = 1, render_mode: str | None = None) -> Simulator:
        return self.kind(tasks)


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    """What a test registers is gone after it."""
    yield
    registry._factories.pop(Base.name, None)
    registry._families.pop(Base.name, None)


def step_giving(result: Any) -> type[Still]:
    return type("Stepping", (Still,), {"step": lambda self, action, active: result})


TWO, NO = np.zeros(2), np.zeros(2, np.bool_)
MISTAKES: dict[str, tuple[dict[str, Any], str]] = {
    "a name with a blank": ({"name": "still here"}, "its name is 'still here': give a family a name"),
    "no name": ({"name": None}, "its name is None: give a family a name"),
    "no horizon": ({"horizon": None}, "family still-here: Own has no horizon: set it"),
    "a horizon of 0": ({"horizon": 0}, "horizon is 0, expected a whole number from 1 on"),
    "half": ({"horizon": 10 / 4}, "horizon is 2.5, expected a whole number from 1 on"),
    "a width that is a float": ({"observation_size": 4 / 2}, "observation_size is 2.0, expected a whole"),
    "width": ({"observation_size": 3}, "shape [2, 2], expected numbers of shape [2, 3] for 2 lanes"),
    "one reward": ({"kind": step_giving(StepResult(np.zeros(()), NO))}, "reward gives an array of float64"),
    "a float": ({"kind": step_giving(StepResult(0.0, NO))}, "step(): reward gives a float"),  # type: ignore[arg-type]
    "a tuple": ({"kind": step_giving((TWO, NO))}, "step() gives a tuple, expected a StepResult"),
    "no success": ({"has_success": True}, "has_success is True, but step() gives none"),
    "success": ({"kind": step_giving(StepResult(TWO, NO, NO))}, "has_success is False, but step() gives one"),
    "an error": (
        {"make_simulator": lambda self, tasks: Still(tasks)},
        "its simulator fails: TypeError: ",
    ),
    "order": ({"list_tasks": lambda self: [Task(1, "train", {})]}, "task indices must be 0, 1, 2, ..."),
    "split": (
        {"list_tasks": lambda self: [Task(i, "test", {}) for i in range(2)]},  # type: ignore[arg-type]
        "task 0: 'test' is not one of train, id, ood",
    ),
    "a word": (
        {"list_tasks": lambda self: [Task(i, "train", {"a": "b"}) for i in range(2)]},  # type: ignore[dict-item]
        "task 0: parameter 'a' is 'b', expected a finite float or a tuple of them",
    ),
    "an array": (
        {"list_tasks": lambda self: [Task(i, "train", {"a": np.zeros(2)}) for i in range(2)]},  # type: ignore[dict-item]
        "task 0: parameter 'a' is array([0., 0.]), expected a finite float",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
@pytest.mark.parametrize("vector", [False, True])
def test_mistakes_are_one_line(mistake: str, vector: bool) -> None:
    changes, words = MISTAKES[mistake]
    with pytest.raises(ClwmError) as caught:
        _use(type("Own", (Base,), changes), vector)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def _use(cls: type[TaskFamily], vector: bool) -> Any:
    family = get_family(register_family(cls).name)
    return family.make_vec_env([0, 1, 0]) if vector else family.make_env(0)


def test_a_family_without_mistakes_is_tried_once() -> None:
    made: list[list[int]] = []

    class Counting(Still):
        def __init__(self, tasks: Any) -> None:
            made.append([*tasks])
            super().__init__(tasks)

    family = get_family(register_family(type("Own", (Base,), {"kind": Counting})).name)
    for _ in range(2):
        family.make_env(1).reset(seed=0)
    family.make_vec_env([0])
    assert made == [[0, 1], [1], [1], [0]]


def test_a_cell_that_is_run_again_defines_its_family_anew() -> None:
    first = get_family(register_family(type("Own", (Base,), {"horizon": 5})).name)
    again = get_family(register_family(type("Own", (Base,), {"horizon": 6})).name)
    assert (first.horizon, again.horizon) == (5, 6)
    assert clwm_data.get_family(Base.name) is again
    with pytest.raises(ClwmError, match="family still-here is registered twice"):
        register_family(type("Other", (Base,), {}))
