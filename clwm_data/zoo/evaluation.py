"""Returns of a policy over many tasks at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from clwm_data.families.base import TaskFamily
from clwm_data.zoo.policy import LearnedPolicy
from clwm_data.zoo.threads import single_threaded

if TYPE_CHECKING:
    from clwm_data.families.vector_env import TaskVectorEnv

#: (observation [L, obs], privileged [L, p] or None) -> action [L, act]; called once per step.
Act = Callable[[NDArray[np.float32], NDArray[np.float64] | None], NDArray[np.float64]]


def episode_returns(env: TaskVectorEnv, act: Act, *, seed: int) -> NDArray[np.float64]:
    """Undiscounted return [L] of one episode in every lane.

    Args:
        env: the environment; all its lanes are reset.
        act: the policy; it is also called for lanes whose episode is over, whose actions are ignored.
        seed: lane i starts from the i-th seed derived from it.
    """
    seeds = np.random.SeedSequence(seed).generate_state(env.num_envs, np.uint64) >> np.uint64(1)
    observation, infos = env.reset(seed=[int(s) for s in seeds])
    returns = np.zeros(env.num_envs)
    while env.active.any():
        action = np.clip(act(observation, infos.get("privileged")), -1.0, 1.0)
        observation, reward, _, _, infos = env.step(action.astype(np.float32))
        returns += reward
    return returns


class PolicyEvaluator:
    """Evaluates task-conditioned policies, with and without their noise, on the same environments.

    Args:
        family: task family.
        tasks: indices of the tasks, T of them.
    """

    def __init__(self, family: TaskFamily, tasks: list[int]) -> None:
        self._tasks = len(tasks)
        self._env = family.make_vec_env(tasks * 2)
        self._conditioning = family.conditioning.vectors[tasks * 2]

    def __call__(self, policy: LearnedPolicy, *, episodes: int, seed: int) -> NDArray[np.float64]:
        """Returns [episodes, 2, T]: with the policy's noise, and without it."""
        generator = np.random.default_rng(np.random.SeedSequence([seed, 1]))
        shape = (self._tasks, policy.action_size)

        def act(
            observation: NDArray[np.float32], privileged: NDArray[np.float64] | None
        ) -> NDArray[np.float64]:
            half = self._tasks
            noise = generator.standard_normal(shape)
            return np.concatenate(
                [
                    policy.act(observation[:half], self._conditioning[:half], noise),
                    policy.act(observation[half:], self._conditioning[half:]),
                ]
            )

        with single_threaded():
            returns = [episode_returns(self._env, act, seed=seed + episode) for episode in range(episodes)]
        return np.stack(returns).reshape(episodes, 2, self._tasks)

    def close(self) -> None:
        """Release the simulators."""
        self._env.close()
