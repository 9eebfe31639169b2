"""One task of a family as a Gymnasium environment (needs the extra ``sim``)."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from clwm_data.errors import InvalidInputError
from clwm_data.families.base import TaskFamily
from clwm_data.families.env_parts import (
    Copyable,
    Info,
    Observation,
    ResetNeededError,
    action_check,
    checked_state,
    frames_per_second,
    spaces,
    specification,
)
from clwm_data.families.own_family import connect


class TaskEnv(Copyable, gymnasium.Env[Observation, NDArray[np.float32]]):
    """One task as a standard Gymnasium environment.

    ``observation`` [obs] float32; ``action`` [act] float32 in [-1, 1]; ``info["success"]`` where the family
    has it. Truncated after ``family.horizon`` steps. Pickles and copies with its state.

    Args:
        family: the family.
        task: task index.
        render_mode: ``None`` or ``"rgb_array"``.
        time_limit: truncate after the horizon; ``gymnasium.make`` uses a wrapper instead.

    Raises:
        InvalidInputError: an action of the wrong shape or with a NaN; also a ``ResetNeeded`` of Gymnasium: a
            step before ``reset`` or after the end.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"]}  # noqa: RUF012

    def __init__(
        self, family: TaskFamily, task: int, *, render_mode: str | None = None, time_limit: bool = True
    ) -> None:
        if render_mode not in (None, "rgb_array"):
            raise InvalidInputError(
                f"{family.name}: render_mode must be None or 'rgb_array', not {render_mode!r}"
            )
        self.family = family
        self.task = family.task(task)
        self.render_mode = render_mode
        self.spec = specification(family, task=self.task.index)
        self.metadata = {**self.metadata, "render_fps": frames_per_second(family)}
        self.observation_space, self.action_space = spaces(family)
        self._limit = family.horizon if time_limit else None
        self._lane = np.zeros(1, np.int64)
        self._active = np.ones(1, np.bool_)
        self._begun = np.zeros(1, np.bool_)
        self._steps = -1
        self._connect()
        self._hides = self._simulator.privileged() is not None

    def _connect(self) -> None:
        self._simulator = connect(self.family, [self.task.index], render_mode=self.render_mode)
        self._checked = action_check(self.family, (self.family.action_size,))

    def reset(self, *, seed: int | None = None, options: Info | None = None) -> tuple[Observation, Info]:
        """Start an episode that depends on ``seed`` alone (or on the environment's own generator)."""
        super().reset(seed=seed)
        if seed is None:
            seed = int(self.np_random.integers(2**63))
        self._simulator.reset(self._lane, [seed])
        self._begun[:] = True
        self._steps = 0
        return self._observe(), self._info()

    def step(self, action: NDArray[np.float32]) -> tuple[Observation, float, bool, bool, Info]:
        """One agent step; see the class."""
        if self._steps < 0:
            raise ResetNeededError(f"{self.family.name}: call reset() before step()")
        result = self._simulator.step(self._checked(action)[None], self._active)
        self._steps = steps = self._steps + 1
        terminated = result.terminated.item()
        truncated = result.truncated is not None and result.truncated.item()
        if self._limit is not None and steps >= self._limit:
            truncated = True
        truncated = truncated and not terminated
        info = self._info() if self._hides else {}
        if result.success is not None:
            info["success"] = result.success.item()
        if result.dense_reward is not None:
            info["dense_reward"] = result.dense_reward.item()
        if terminated or truncated:
            self._steps = -1
        return self._observe(), result.reward.item(), terminated, truncated, info

    def get_state(self) -> NDArray[np.float64]:
        """Full simulator state [state], a copy; the elapsed steps are not part of it."""
        return np.array(self._simulator.get_state(0))

    def set_state(self, state: NDArray[np.float64]) -> Observation:
        """Continue from a state of the same task as if an episode had just begun there.

        Returns:
            the observation [obs] in that state.

        Raises:
            InvalidInputError: it cannot be a state of the task.
        """
        self._simulator.set_state(0, checked_state(self.family, self._simulator, 0, state))
        self._begun[:] = True
        self._steps = 0
        return self._observe()

    def render(self) -> NDArray[np.uint8] | None:
        """An RGB picture [height, width, 3], or ``None`` without ``render_mode="rgb_array"``."""
        return self._simulator.render(0) if self.render_mode == "rgb_array" else None

    def close(self) -> None:
        """Release the simulator."""
        self._release()

    def _observe(self) -> Observation:
        observation: Observation = self._simulator.observe()[0].astype(np.float32)
        return observation

    def _info(self) -> Info:
        privileged = self._simulator.privileged()
        return {} if privileged is None else {"privileged": np.array(privileged[0])}
