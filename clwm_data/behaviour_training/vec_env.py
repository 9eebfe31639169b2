"""A family as an SB3 vector environment: a task is drawn per episode and shown to the policy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv

from clwm_data.families import TaskFamily

#: Key of a step's info: its rewards [L] in the tasks of all lanes, if the family can compute them.
REWARDS_ACROSS = "rewards_across"


def can_relabel(family: TaskFamily, tasks: Sequence[int]) -> bool:
    """Whether the simulator can compute the reward of a step in any of the other tasks."""
    env = family.make_vec_env(tasks)
    try:
        across = env.rewards_across()
        return across is not None and bool(np.isfinite(across).sum() > len(tasks))
    finally:
        env.close()


class TaskConditionedVecEnv(VecEnv):
    """``num_envs`` episodes at a time, each of a task drawn from those that no other episode is playing.

    Observations are the family's, followed by the task's conditioning vector [n, obs + c]. There is a lane
    for every task underneath, of which ``num_envs`` are inside an episode. The step that ends an episode
    returns the first observation of the next one, as SB3 wants it; the last observation of the old one is in
    ``infos[i]["terminal_observation"]``, and ``infos[i]["TimeLimit.truncated"]`` says whether a time limit
    ended it, which is not a termination.

    Attributes:
        conditioning: [L, c] conditioning vector of each lane.
    """

    def __init__(
        self, family: TaskFamily, tasks: Sequence[int], num_envs: int, *, seed: int | Sequence[int]
    ) -> None:
        lanes = list(tasks) * -(-num_envs // len(tasks))  # if there are few tasks, each has several lanes
        self.family = family
        self._env = family.make_vec_env(lanes)
        self._generator = np.random.default_rng(np.random.SeedSequence(seed))
        self.conditioning = family.conditioning.vectors[lanes]
        self._lanes = np.full(num_envs, -1)  # lane of each slot
        self._actions = np.zeros((len(lanes), family.action_size), np.float32)
        size = family.observation_size + self.conditioning.shape[1]
        super().__init__(
            num_envs,
            spaces.Box(-np.inf, np.inf, (size,), np.float32),
            spaces.Box(-1.0, 1.0, (family.action_size,), np.float32),
        )

    def reset(self) -> NDArray[np.float32]:
        """Start new episodes in all slots."""
        self._env.active[:] = False
        self._lanes[:] = -1
        return self._observe(self._start(np.arange(self.num_envs)))

    def step_async(self, actions: NDArray[np.float32]) -> None:
        """Store the actions [n, act] for :meth:`step_wait`."""
        self._actions[self._lanes] = actions

    def step_wait(
        self,
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_], list[dict[str, Any]]]:
        """Step all slots and start the next episode where one ended."""
        lanes = self._lanes.copy()
        everything, reward, terminated, truncated, _ = self._env.step(self._actions)
        observation = self._observe(everything)
        ended = (terminated | truncated)[lanes]
        infos: list[dict[str, Any]] = [{} for _ in lanes]
        across = self._env.rewards_across()
        if across is not None:
            for info, row in zip(infos, across[lanes], strict=True):
                info[REWARDS_ACROSS] = row
        for slot in np.flatnonzero(ended).tolist():
            infos[slot]["terminal_observation"] = observation[slot].copy()
            infos[slot]["TimeLimit.truncated"] = bool(truncated[lanes[slot]])
        if ended.any():
            observation = self._observe(self._start(np.flatnonzero(ended)))
        return observation, reward[lanes].astype(np.float32), ended, infos

    def _start(self, slots: NDArray[np.int64]) -> NDArray[np.float32]:
        idle = np.setdiff1d(np.arange(len(self.conditioning)), np.delete(self._lanes, slots))
        self._lanes[slots] = self._generator.choice(idle, len(slots), replace=False)
        mask = np.zeros(len(self.conditioning), np.bool_)
        mask[self._lanes[slots]] = True
        seeds = self._generator.integers(2**63, size=len(mask)).tolist()
        return self._env.reset(seed=seeds, options={"reset_mask": mask})[0]

    def _observe(self, everything: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.concatenate([everything[self._lanes], self.conditioning[self._lanes]], axis=1)

    def close(self) -> None:
        """Release the simulator."""
        self._env.close()

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """The attribute, which is the same for all slots."""
        return [getattr(self, attr_name, None) for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Not supported."""
        raise NotImplementedError("slots share one environment")

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> list[Any]:
        """Not supported."""
        raise NotImplementedError("slots share one environment")

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
        """Slots are never wrapped."""
        return [False for _ in self._get_indices(indices)]
