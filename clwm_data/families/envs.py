"""Gymnasium environments over a simulator (needs the extra ``sim``)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import isfinite
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from clwm_data.errors import ClwmError
from clwm_data.families.base import TaskFamily

Observation = NDArray[np.float32]
Info = dict[str, Any]


def _spaces(family: TaskFamily) -> tuple[Any, Any]:
    return (
        gymnasium.spaces.Box(-np.inf, np.inf, (family.observation_size,), np.float32),
        gymnasium.spaces.Box(-1.0, 1.0, (family.action_size,), np.float32),
    )


def _action_check(family: TaskFamily, shape: tuple[int, ...]) -> Callable[[Any], NDArray[np.float64]]:
    """What turns a user's actions into float64 within [-1, 1]; quick, since it runs at every step."""
    # Bounds of the full shape: NumPy takes longer to spread a number than to compare a few.
    low, high = np.full(shape, -1.0, np.float32), np.full(shape, 1.0, np.float32)

    def check(action: Any) -> NDArray[np.float64]:
        array = np.asarray(action, dtype=np.float32)  # what is stored as float32 is what is executed
        if array.shape != shape:
            raise ClwmError(f"{family.name}: action has shape {array.shape}, expected {shape}")
        flat = array.ravel()
        # A finite sum of squares says in one call that all is well; huge finite numbers get a second look.
        if not isfinite(flat.dot(flat)) and not np.isfinite(array).all():
            raise ClwmError(f"{family.name}: action holds a value that is not finite: {array}")
        bounded: NDArray[np.float64] = np.minimum(np.maximum(array, low), high).astype(np.float64)
        return bounded

    return check


class TaskEnv(gymnasium.Env[Observation, NDArray[np.float32]]):
    """One task as a standard Gymnasium environment.

    ``observation`` [obs] float32; ``action`` [act] float32 in [-1, 1]; ``info["success"]`` where the family
    has it. Truncated after ``family.horizon`` steps.

    Raises:
        ClwmError: an action of the wrong shape or with a NaN; a step before ``reset`` or after the end.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 30}  # noqa: RUF012

    def __init__(self, family: TaskFamily, task: int, *, render_mode: str | None = None) -> None:
        if render_mode not in (None, "rgb_array"):
            raise ClwmError(f"{family.name}: render_mode must be None or 'rgb_array', not {render_mode!r}")
        self.family = family
        self.task = family.task(task)
        self.render_mode = render_mode
        self.observation_space, self.action_space = _spaces(family)
        self._simulator = family.make_simulator([task], render_mode=render_mode)
        self._horizon = family.horizon
        self._hides = self._simulator.privileged() is not None
        self._lane = np.zeros(1, np.int64)
        self._active = np.ones(1, np.bool_)
        self._checked = _action_check(family, (family.action_size,))
        self._steps = -1

    def reset(self, *, seed: int | None = None, options: Info | None = None) -> tuple[Observation, Info]:
        """Start an episode that depends on ``seed`` alone (or on the environment's own generator)."""
        super().reset(seed=seed)
        if seed is None:
            seed = int(self.np_random.integers(2**63))
        self._simulator.reset(self._lane, [seed])
        self._steps = 0
        return self._observe(), self._info()

    def step(self, action: NDArray[np.float32]) -> tuple[Observation, float, bool, bool, Info]:
        """One agent step; see the class."""
        if self._steps < 0:
            raise ClwmError(f"{self.family.name}: call reset() before step()")
        result = self._simulator.step(self._checked(action)[None], self._active)
        self._steps = steps = self._steps + 1
        terminated = result.terminated.item()
        truncated = not terminated and steps >= self._horizon
        info = self._info() if self._hides else {}
        if result.success is not None:
            info["success"] = result.success.item()
        if terminated or truncated:
            self._steps = -1
        return self._observe(), result.reward.item(), terminated, truncated, info

    def get_state(self) -> NDArray[np.float64]:
        """Full simulator state [state]; the elapsed steps are not part of it."""
        return self._simulator.get_state(0)

    def set_state(self, state: NDArray[np.float64]) -> Observation:
        """Continue from a state of the same task as if an episode had just begun there.

        Returns:
            the observation [obs] in that state.
        """
        self._simulator.set_state(0, np.asarray(state, np.float64))
        self._steps = 0
        return self._observe()

    def render(self) -> NDArray[np.uint8] | None:
        """An RGB picture [height, width, 3], or ``None`` without ``render_mode="rgb_array"``."""
        return self._simulator.render(0) if self.render_mode == "rgb_array" else None

    def close(self) -> None:
        """Release the simulator."""
        self._simulator.close()

    def _observe(self) -> Observation:
        observation: Observation = self._simulator.observe()[0].astype(np.float32)
        return observation

    def _info(self) -> Info:
        privileged = self._simulator.privileged()
        return {} if privileged is None else {"privileged": privileged[0]}


class TaskVectorEnv(gymnasium.vector.VectorEnv[Observation, NDArray[np.float32], Any]):
    """Many episodes at once: one lane per entry of ``tasks``.

    Autoreset is off: a lane that has ended is frozen (same observation, reward 0, no flags) until
    ``reset(options={"reset_mask": mask})`` starts its next episode, so no bogus transition is ever returned.

    ``step`` takes actions [L, act] and returns observation [L, obs] float32, reward [L] float64,
    terminated [L] bool, truncated [L] bool and infos: ``success`` [L] where the family has it,
    ``privileged`` [L, p] where scripted behaviours need it.

    Attributes:
        tasks: [L] task index of each lane.
        active: [L] bool: lanes inside an episode.
    """

    metadata: dict[str, Any] = {"autoreset_mode": AutoresetMode.DISABLED}  # noqa: RUF012

    def __init__(self, family: TaskFamily, tasks: Sequence[int], *, threads: int = 1) -> None:
        self.family = family
        self.num_envs = len(tasks)
        self.tasks = np.asarray(tasks, np.int64)
        self.single_observation_space, self.single_action_space = _spaces(family)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self._simulator = family.make_simulator(tasks, threads=threads)
        self._checked = _action_check(family, (self.num_envs, family.action_size))
        self._steps = np.zeros(self.num_envs, np.int64)
        self.active = np.zeros(self.num_envs, np.bool_)
        self._observation = np.zeros((self.num_envs, family.observation_size), np.float32)

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: Info | None = None
    ) -> tuple[Observation, Info]:
        """Start episodes in all lanes, or in those of ``options["reset_mask"]`` [L].

        Args:
            seed: one seed per lane (those of lanes that are not reset are ignored), or one from which the
                lanes' seeds are counted up, as Gymnasium does.
            options: ``reset_mask``: [L] bool.

        Raises:
            ClwmError: a mask or a list of seeds of the wrong length.
        """
        if seed is None or isinstance(seed, int):
            super().reset(seed=seed)
            first = seed
            seed = [None if first is None else first + lane for lane in range(self.num_envs)]
        mask = np.asarray((options or {}).get("reset_mask", np.ones(self.num_envs, np.bool_)), np.bool_)
        if mask.shape != (self.num_envs,) or len(seed) != self.num_envs:
            raise ClwmError(f"{self.family.name}: reset wants {self.num_envs} seeds and mask entries")
        lanes = np.flatnonzero(mask)
        seeds = [seed[int(lane)] for lane in lanes]
        drawn = [int(self.np_random.integers(2**63)) if s is None else int(s) for s in seeds]
        self._simulator.reset(lanes, drawn)
        self._steps[lanes] = 0
        self.active = self.active | mask
        self._observation = np.where(mask[:, None], self._observe(), self._observation)
        return self._observation, self._info()

    def step(
        self, actions: NDArray[np.float32]
    ) -> tuple[Observation, NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], Info]:
        """One agent step of every active lane; see the class.

        Raises:
            ClwmError: actions of the wrong shape or with a NaN.
        """
        checked = self._checked(actions)
        active = self.active
        result = self._simulator.step(checked, active)
        self._steps += active
        observation = self._observe()
        info = self._info()
        reward, terminated = result.reward, result.terminated & active
        if result.success is not None:
            info["success"] = result.success & active
        if not active.all():
            observation = np.where(active[:, None], observation, self._observation)
            reward = np.where(active, reward, 0.0)
        truncated = active & ~terminated & (self._steps >= self.family.horizon)
        self.active = active & ~(terminated | truncated)
        self._observation = observation
        return observation, reward, terminated, truncated, info

    def get_state(self, lane: int) -> NDArray[np.float64]:
        """Full simulator state [state] of a lane."""
        return self._simulator.get_state(lane)

    def set_state(self, lane: int, state: NDArray[np.float64]) -> Observation:
        """Put a lane into a state of its task, as if an episode had just begun there.

        Returns:
            the observations [L, obs].
        """
        self._simulator.set_state(lane, np.asarray(state, np.float64))
        self._steps[lane] = 0
        self.active = self.active.copy()
        self.active[lane] = True
        observation = self._observation.copy()
        observation[lane] = self._observe()[lane]
        self._observation = observation
        return observation

    def rewards_across(self) -> NDArray[np.float64] | None:
        """Rewards [L, L]: what the last step of lane i would have earned in the task of lane j.

        NaN where the dynamics of the two differ; ``None`` where the family cannot tell. Rows of lanes that
        were not inside an episode mean nothing.
        """
        return self._simulator.rewards_across()

    def close_extras(self, **kwargs: Any) -> None:
        """Release the simulator (called by ``close``)."""
        self._simulator.close()

    def _observe(self) -> Observation:
        return self._simulator.observe().astype(np.float32)

    def _info(self) -> Info:
        privileged = self._simulator.privileged()
        return {} if privileged is None else {"privileged": privileged}
