"""Environments of others that give anything: one line that names family, task and step."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import gymnasium
import numpy as np
import pytest

from clwm_data.errors import ClwmError
from clwm_data.families import get_family
from clwm_data.families.declared.simulator import EnvironmentSimulator
from clwm_data.families.declared.spaces import Translation
from clwm_data.families.provided import ProvidedFamily


class Answering(gymnasium.Env[Any, Any]):
    """Its third step gives what it is told to."""

    observation_space = gymnasium.spaces.Box(-10, 10, (2,), np.float64)
    action_space = gymnasium.spaces.Box(-1, 1, (1,), np.float64)

    def __init__(self, answer: Callable[[], Any]) -> None:
        self.answer, self.steps = answer, 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        return np.zeros(2), {}

    def step(self, action: Any) -> Any:
        self.steps += 1
        return self.answer() if self.steps == 3 else (np.zeros(2), 1.0, False, False, {})


ANSWERS: dict[str, tuple[Callable[[], Any], str]] = {
    "NaN": (lambda: (np.array([0, np.nan]), 1.0, False, False, {}), "step 3: the observation holds a number"),
    "1e300": (lambda: (np.full(2, 1e300), 1.0, False, False, {}), "step 3: the observation holds a number"),
    "reward": (lambda: (np.zeros(2), float("inf"), False, False, {}), "step 3: the reward holds a number"),
    "exit": (lambda: sys.exit(0), "step failed: SystemExit: 0"),
    "nothing": (lambda: None, "step failed: TypeError"),
    "an object": (lambda: (object(), 1.0, False, False, {}), "step failed: TypeError"),
    "a longer one": (
        lambda: (np.zeros(5), 1.0, False, False, {}),
        "step 3: the size of the observation is 5, that of its space 2",
    ),
    "one number for two": (
        lambda: (0.5, 1.0, False, False, {}),
        "step 3: the size of the observation is 1, that of its space 2",
    ),
    "a list of rewards": (
        lambda: (np.zeros(2), [1.0, 2.0], False, False, {}),
        "step 3: the reward is a list (2 items), expected a number",
    ),
}


@pytest.mark.parametrize("begun", [np.zeros(2), {"a": 1.0, "b": 2.0}, None, (np.zeros(2), {}, 0)])
def test_a_reset_without_info_is_told(begun: Any) -> None:
    """As older libraries have it: two numbers must not pass for an observation and an info."""
    env = Answering(lambda: None)
    env.reset = lambda **options: begun  # type: ignore[method-assign]
    simulator = EnvironmentSimulator("mine", "arms:make", [7], [lambda: env], None)
    with pytest.raises(
        ClwmError, match=r"task 7: arms:make: step 0: reset\(\) gives .*, expected \(obs"
    ) as caught:
        simulator.reset(np.zeros(1, np.int64), [0])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ANSWERS)
def test_one_line(name: str) -> None:
    answer, words = ANSWERS[name]
    simulator = EnvironmentSimulator("mine", "arms:make", [7], [lambda: Answering(answer)], None)
    simulator.reset(np.zeros(1, np.int64), [0])
    for _ in range(2):
        simulator.step(np.zeros((1, 1)), np.ones(1, np.bool_))
    with pytest.raises(ClwmError) as caught:
        simulator.step(np.zeros((1, 1)), np.ones(1, np.bool_))
    assert words in str(caught.value)
    assert str(caught.value).startswith("family mine, task 7: arms:make: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("success", [np.array([True, False]), np.nan, "yes", {}])
def test_what_is_no_success_is_told(success: Any) -> None:
    env = Answering(lambda: (np.zeros(2), 1.0, False, False, {"there": success}))
    env.steps = 2
    simulator = EnvironmentSimulator("mine", "arms:make", [7], [lambda: env], "there")
    simulator.reset(np.zeros(1, np.int64), [0])
    with pytest.raises(
        ClwmError, match=r"^family mine, task 7: arms:make: step 1: there: is .*, expected one"
    ):
        simulator.step(np.zeros((1, 1)), np.ones(1, np.bool_))


def test_an_environment_without_render_is_one_without_pictures() -> None:
    simulator = EnvironmentSimulator("mine", "arms:make", [7], [lambda: Answering(lambda: None)], None)
    with pytest.raises(NotImplementedError, match=r"^arms:make renders no picture"):
        simulator.render(0)


class Bare(gymnasium.Env[Any, Any]):
    """Lacks what ``__init__`` should have set."""


@pytest.mark.parametrize("missing", ["observation_space", "action_space"])
def test_an_environment_without_spaces_is_told(missing: str) -> None:
    env = Bare()
    if missing == "action_space":
        env.observation_space = gymnasium.spaces.Box(-1, 1, (1,))
    with pytest.raises(ClwmError, match=f"^family mine: Bare has no {missing}: set it"):
        EnvironmentSimulator("mine", "arms:make", [7], [lambda: env], None)


class Pushed(gymnasium.Env[Any, Any]):
    """Shows the force that it was pushed with; how strong the motor is differs between tasks."""

    def __init__(self, strength: float, width: int = 1) -> None:
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (width,), np.float64)
        self.action_space = gymnasium.spaces.Box(-strength, strength, (1,), np.float64)
        self.width = width

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        return np.zeros(self.width), {}

    def step(self, action: Any) -> Any:
        return np.full(self.width, action[0]), float(action[0]), False, False, {}


@pytest.mark.parametrize("strengths", [(1.0, 2.0, 5.0), (5.0, 1.0)])
def test_each_lane_keeps_to_the_bounds_of_its_own_task(strengths: tuple[float, ...]) -> None:
    lanes = len(strengths)
    make = [partial(Pushed, strength) for strength in strengths]
    simulator = EnvironmentSimulator("mine", "arms:make", range(lanes), make, None)
    simulator.reset(np.arange(lanes), range(lanes))
    result = simulator.step(np.full((lanes, 1), 0.5), np.ones(lanes, np.bool_))
    halves = [strength / 2 for strength in strengths]
    assert result.reward.tolist() == halves
    assert simulator.observe()[:, 0].tolist() == halves


class Counted(Pushed):
    """Counts those that are open."""

    open = 0

    def __init__(self, width: int) -> None:
        if width == 0:
            raise ClwmError("no width")
        super().__init__(1.0, width)
        Counted.open += 1

    def close(self) -> None:
        Counted.open -= 1


@pytest.mark.parametrize(
    ("widths", "words"), [((1, 1, 2), "tasks 4 and 6 differ in size"), ((1, 1, 0), "no width")]
)
def test_what_cannot_be_used_together_is_named_and_closed(widths: tuple[int, ...], words: str) -> None:
    with pytest.raises(ClwmError, match=words):
        EnvironmentSimulator("mine", "arms:make", [4, 5, 6], [partial(Counted, w) for w in widths], None)
    assert Counted.open == 0
    simulator = EnvironmentSimulator("mine", "arms:make", [4, 5], [partial(Counted, 1)] * 2, None)
    assert Counted.open == 2
    simulator.close()
    assert Counted.open == 0


def test_what_a_function_makes_of_another_size_is_closed() -> None:
    with pytest.raises(ClwmError, match=r"task 0 has observation size 3, its data 2$"):
        ProvidedFamily(get_family("point-robot"), lambda task, parameters: Counted(3))
    assert Counted.open == 0


@pytest.mark.parametrize("kind", [np.int64, np.uint8, np.int8])
def test_actions_of_whole_numbers_are_rounded(kind: type[np.integer[Any]]) -> None:
    """Each of n numbers is given by an n-th of [-1, 1], the outer ones by half of it."""
    low, high = (-2, 2) if np.issubdtype(kind, np.signedinteger) else (0, 4)
    box = gymnasium.spaces.Box(low, high, (1,), kind)
    actions = Translation(gymnasium.spaces.Box(-1, 1, (1,)), box, "here")
    vectors = np.array([-1.0, -0.76, -0.74, -0.26, -0.24, 0.24, 0.26, 0.74, 0.76, 1.0])
    given = [actions.action(vector[None]) for vector in vectors]
    assert all(action.dtype == kind and action in box for action in given)
    assert [int(action[0]) - low for action in given] == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
