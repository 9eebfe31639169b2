"""Environments that worker processes import, without torch."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces


class Robot(gymnasium.Env[Any, Any]):
    """Gives its mass as reward at every step; stops by itself after ``limit`` steps."""

    observation_space = spaces.Box(-9, 9, (2,))

    def __init__(self, mass: float, limit: int = 10**6, *, discrete: bool = False) -> None:
        self.mass, self.limit = mass, limit
        self.action_space = spaces.Discrete(2) if discrete else spaces.Box(-1.0, 1.0, (2,))

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.steps = 0
        return np.zeros(2, np.float32), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        assert self.action_space.contains(action)
        self.steps += 1
        return np.ones(2, np.float32), self.mass, False, self.steps >= self.limit, {}


def make(task: int, parameters: dict[str, Any]) -> gymnasium.Env[Any, Any]:
    assert (task, parameters) in [(2, {"mass": 1.0}), (9, {"mass": 1.5}), (12, {"mass": 2.5})]
    return Robot(parameters["mass"])
