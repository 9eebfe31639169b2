"""Environments of others that give anything: one line that names family, task and step."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import pytest

from clwm_data.errors import ClwmError
from clwm_data.families.declared.simulator import EnvironmentSimulator


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
    "a longer one": (lambda: (np.zeros(5), 1.0, False, False, {}), "step failed: ValueError"),
    "a list of rewards": (
        lambda: (np.zeros(2), [1.0, 2.0], False, False, {}),
        "step 3: the reward is a list (2 items), expected a number",
    ),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_one_line(name: str) -> None:
    answer, words = ANSWERS[name]
    simulator = EnvironmentSimulator("mine", "arms:make", [7], [Answering(answer)], None)
    simulator.reset(np.zeros(1, np.int64), [0])
    for _ in range(2):
        simulator.step(np.zeros((1, 1)), np.ones(1, np.bool_))
    with pytest.raises(ClwmError) as caught:
        simulator.step(np.zeros((1, 1)), np.ones(1, np.bool_))
    assert words in str(caught.value)
    assert str(caught.value).startswith("family mine, task 7: arms:make: ")
    assert "\n" not in str(caught.value)


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
    simulator = EnvironmentSimulator("mine", "arms:make", range(lanes), [*map(Pushed, strengths)], None)
    simulator.reset(np.arange(lanes), range(lanes))
    result = simulator.step(np.full((lanes, 1), 0.5), np.ones(lanes, np.bool_))
    halves = [strength / 2 for strength in strengths]
    assert result.reward.tolist() == halves
    assert simulator.observe()[:, 0].tolist() == halves


def test_tasks_that_differ_in_size_are_named() -> None:
    with pytest.raises(ClwmError, match="tasks 4 and 6 differ in size"):
        EnvironmentSimulator("mine", "arms:make", [4, 5, 6], [Pushed(1), Pushed(1), Pushed(1, 2)], None)
