"""Environments as users write them, for the tests of declared families."""

from __future__ import annotations

import itertools
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

COUNTER = itertools.count()


class Slider(gymnasium.Env[Any, Any]):
    """A point on a line with friction: Dict observations, actions in newtons, ends at the wall."""

    observation_space = spaces.Dict(
        {
            "place": spaces.Box(-np.inf, np.inf, (2,)),
            "gear": spaces.Discrete(3),
            "goal": spaces.Box(-9, 9, ()),
        }
    )
    action_space = spaces.Box(np.array([-2.0, 0.0], np.float32), np.array([6.0, 0.5], np.float32))

    def __init__(
        self, friction: float, goal: tuple[float, float] = (1.0, 0.0), own_limit: int = 10**6
    ) -> None:
        self.friction, self.goal, self.own_limit = friction, goal, own_limit

    def _observation(self) -> dict[str, Any]:
        return {
            "place": np.array([self.x, self.v], np.float32),
            "gear": self.steps % 3,
            "goal": np.array(self.goal[0], np.float32),
        }

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.x, self.v, self.steps = float(self.np_random.uniform(-0.1, 0.1)), 0.0, 0
        return self._observation(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        assert self.action_space.contains(action), action
        force, brake = (float(entry) for entry in action)
        self.v += 0.1 * (force - (self.friction + brake) * self.v) + 0.01 * float(self.np_random.normal())
        self.x += 0.1 * self.v
        self.steps += 1
        away = abs(self.x - self.goal[0])
        return (
            self._observation(),
            -away,
            abs(self.x) > 30.0,
            self.steps >= self.own_limit,
            {"there": away < 0.1},
        )


def slider(friction: float, own_limit: int = 10**6) -> gymnasium.Env[Any, Any]:
    return Slider(friction, own_limit=own_limit)


def replace(env: Slider, friction: float) -> Slider:
    return Slider(friction, env.goal)


def change(env: Any, length: float) -> None:
    env.unwrapped.length = length
    env.unwrapped.polemass_length = env.unwrapped.masspole * length


class Restless(Slider):
    """Not deterministic: every step of the process counts."""

    def reset(self, **options: Any) -> Any:
        super().reset(**options)
        self.x += next(COUNTER) * 1e-3
        return self._observation(), {}


class Picture(Slider):
    observation_space: Any = spaces.Sequence(spaces.Box(0, 1, (2,)))


class Camera(Slider):
    observation_space: Any = spaces.Dict(
        {"place": spaces.Box(-1, 1, (2,)), "view": spaces.Box(0, 255, (8, 8), np.uint8)}
    )


class Boundless(Slider):
    action_space: Any = spaces.Box(-np.inf, 1.0, (2,))


class Buttons(Slider):
    action_space: Any = spaces.MultiBinary(3)


class Growing(Slider):
    """Tasks whose observations differ in size."""

    def __init__(self, friction: float) -> None:
        super().__init__(friction)
        size = 2 + int(friction > 0.3)
        self.observation_space = spaces.Box(-np.inf, np.inf, (size,))

    def _observation(self) -> Any:
        return np.zeros(self.observation_space.shape, np.float32)  # type: ignore[arg-type]


def no_environment(friction: float) -> str:
    return "nothing"


def raising(env: Any = None, friction: float = 0.0) -> None:
    raise RuntimeError("two\nlines")


def number(env: Any, friction: float) -> int:
    return 3


class Failing(Slider):
    def step(self, action: Any) -> Any:
        raise ZeroDivisionError("a joint came off")
