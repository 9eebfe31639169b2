"""Many tasks, or episodes, of a family as a Gymnasium vector environment (needs the extra ``sim``)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space
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
from clwm_data.ranges import whole


class TaskVectorEnv(Copyable, gymnasium.vector.VectorEnv[Observation, NDArray[np.float32], Any]):
    """Many episodes at once: one lane per entry of ``tasks``.

    Autoreset is off: a lane that has ended is frozen (same observation, reward 0, no flags) until
    ``reset(options={"reset_mask": mask})`` starts its next episode, so no bogus transition is ever returned.
    A lane that was never reset is frozen, too, with an observation of zeros.

    ``step`` takes actions [L, act] and returns observation [L, obs] float32, reward [L] float64,
    terminated [L] bool, truncated [L] bool and infos: ``success`` [L] where the family has it,
    ``privileged`` [L, p] where scripted behaviours need it. All returned arrays are copies.
    Pickles and copies with the states of all lanes.

    Attributes:
        tasks: [L] task index of each lane.
        active: [L] bool: lanes inside an episode.
    """

    metadata: dict[str, Any] = {"autoreset_mode": AutoresetMode.DISABLED}  # noqa: RUF012

    def __init__(self, family: TaskFamily, tasks: Sequence[int], *, threads: int = 1) -> None:
        self.family = family
        self.num_envs = len(tasks)
        self.tasks = np.asarray(tasks, np.int64)
        self.spec = specification(family)
        self.metadata = {**self.metadata, "render_fps": frames_per_second(family)}
        self.single_observation_space, self.single_action_space = spaces(family)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self._threads = threads
        self._steps = np.zeros(self.num_envs, np.int64)
        self._begun = np.zeros(self.num_envs, np.bool_)
        self.active = np.zeros(self.num_envs, np.bool_)
        # Never returned to callers: rows of frozen lanes are read from it.
        self._observation = np.zeros((self.num_envs, family.observation_size), np.float32)
        self._connect()

    def _connect(self) -> None:
        self._simulator = connect(self.family, self.tasks.tolist(), threads=self._threads)
        self._checked = action_check(self.family, (self.num_envs, self.family.action_size))

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: Info | None = None
    ) -> tuple[Observation, Info]:
        """Start episodes in all lanes, or in those of ``options["reset_mask"]`` [L].

        Args:
            seed: one seed per lane (those of lanes that are not reset are ignored), or one seed s, so that
                lane i gets s + i, as in Gymnasium.
            options: ``reset_mask``: [L] bool.

        Raises:
            InvalidInputError: a mask or a list of seeds of the wrong length or type.
        """
        lanes = self._lanes_to_reset(options)
        if seed is None or whole(seed) is not None:
            first = None if seed is None else _checked_seed(self.family, seed)
            super().reset(seed=first)
            seeds: list[int | None] = [
                None if first is None else first + lane for lane in range(self.num_envs)
            ]
        else:
            seeds = _seed_per_lane(self.family, seed, self.num_envs)
        chosen = [seeds[int(lane)] for lane in lanes]
        drawn = [
            int(self.np_random.integers(2**63)) if s is None else _checked_seed(self.family, s)
            for s in chosen
        ]
        self._simulator.reset(lanes, drawn)
        self._steps[lanes] = 0
        self._begun[lanes] = True
        self.active = self.active.copy()
        self.active[lanes] = True
        self._observation[lanes] = self._simulator.observe()[lanes]
        return self._observation.copy(), self._info()

    def _lanes_to_reset(self, options: Info | None) -> NDArray[np.int64]:
        mask = np.asarray((options or {}).get("reset_mask", np.ones(self.num_envs, np.bool_)))
        if mask.shape != (self.num_envs,) or mask.dtype != np.bool_:
            raise InvalidInputError(
                f"{self.family.name}: reset_mask must be {self.num_envs} booleans, one per lane, not "
                f"{mask.dtype} of shape {mask.shape}"
            )
        return np.flatnonzero(mask)

    def step(
        self, actions: NDArray[np.float32]
    ) -> tuple[Observation, NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], Info]:
        """One agent step of every active lane; see the class.

        Raises:
            InvalidInputError: actions of the wrong shape or with a NaN; also a ``ResetNeeded`` of Gymnasium:
                no lane was ever reset.
        """
        checked = self._checked(actions)
        if not self._begun.any():
            raise ResetNeededError(f"{self.family.name}: call reset() before step()")
        active = self.active
        result = self._simulator.step(checked, active)
        self._steps += active
        terminated = result.terminated & active
        truncated = self._steps >= self.family.horizon
        if result.truncated is not None:
            truncated |= result.truncated
        truncated &= active & ~terminated
        info = self._info()
        if result.success is not None:
            info["success"] = result.success & active
        if result.dense_reward is not None:
            info["dense_reward"] = np.where(active, result.dense_reward, 0.0)
        if active.all():
            reward = np.array(result.reward)
            self._observation[...] = self._simulator.observe()
        else:
            reward = np.where(active, result.reward, 0.0)
            self._observation[active] = self._simulator.observe()[active]
        self.active = active & ~(terminated | truncated)
        return self._observation.copy(), reward, terminated, truncated, info

    def get_state(self, lane: int) -> NDArray[np.float64]:
        """Full simulator state [state] of a lane, a copy.

        Raises:
            InvalidInputError: no such lane.
        """
        return np.array(self._simulator.get_state(self._checked_lane(lane)))

    def _checked_lane(self, lane: object) -> int:
        number = whole(lane)
        if number is None or not 0 <= number < self.num_envs:
            raise InvalidInputError(
                f"{self.family.name}: lane {lane!r} is not a whole number from 0 to {self.num_envs - 1}"
            )
        return number

    def set_state(self, lane: int, state: NDArray[np.float64]) -> Observation:
        """Put a lane into a state of its task, as if an episode had just begun there.

        Returns:
            the observations [L, obs].

        Raises:
            InvalidInputError: no such lane, or it cannot be a state of the lane's task.
        """
        lane = self._checked_lane(lane)
        self._simulator.set_state(lane, checked_state(self.family, self._simulator, lane, state))
        self._steps[lane] = 0
        self._begun[lane] = True
        self.active = self.active.copy()
        self.active[lane] = True
        self._observation[lane] = self._simulator.observe()[lane]
        return self._observation.copy()

    def rewards_across(self) -> NDArray[np.float64] | None:
        """Rewards [L, L] that the last step of lane i would have received in the task of lane j.

        NaN where the dynamics of the two differ; ``None`` if the family cannot tell. Rows of lanes that were
        not inside an episode are meaningless.
        """
        return self._simulator.rewards_across()

    def close_extras(self, **kwargs: Any) -> None:
        """Release the simulator (called by ``close``)."""
        self._release()

    def _info(self) -> Info:
        privileged = self._simulator.privileged()
        return {} if privileged is None else {"privileged": np.array(privileged)}


def _checked_seed(family: TaskFamily, seed: object) -> int:
    number = whole(seed)
    if number is None or number < 0:
        raise InvalidInputError(f"{family.name}: a seed is a whole number from 0 on, not {seed!r}")
    return number


def _seed_per_lane(family: TaskFamily, seed: object, lanes: int) -> list[int | None]:
    try:
        seeds: list[int | None] = list(seed)  # type: ignore[call-overload]
    except TypeError:
        seeds = []
    if len(seeds) != lanes or isinstance(seed, str):
        raise InvalidInputError(
            f"{family.name}: reset takes one seed, or one for each of the {lanes} lanes, not {seed!r}"
        )
    return seeds
