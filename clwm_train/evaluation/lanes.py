"""The lanes of an evaluation: the same episodes for every seed of an agent, in one vector environment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from clwm_data.families import TaskFamily
from clwm_train.acting.actor import Actor
from clwm_train.acting.belief import Belief
from clwm_train.model.agent import Agent


class Lanes:
    """L lanes for each of S seeds; NumPy in the environment's order [S * L, ...], tensors as [S, L, ...].

    Args:
        agent: agent of S seeds.
        family: the task family.
        tasks: [L] task index of each lane.
        threads: maximum number of threads of the simulator.

    Attributes:
        observation: [S * L, obs], the current observations.
    """

    observation: NDArray[np.float32]

    def __init__(self, agent: Agent, family: TaskFamily, tasks: Sequence[int], *, threads: int = 1) -> None:
        self.copies, self.count = len(agent.seeds), len(tasks)
        self._device = agent.normaliser.mean.device
        self._executed = family.executed  # the belief sees actions as they were executed
        self._env = family.make_vec_env([*tasks] * self.copies, threads=threads)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._env.close()

    @property
    def active(self) -> NDArray[np.bool_]:
        """[S * L], lanes inside an episode."""
        active: NDArray[np.bool_] = self._env.active
        return active

    def reset(self, actor: Actor, seeds: Sequence[int], lanes: NDArray[np.bool_] | None = None) -> None:
        """Begin episodes in all lanes, or in ``lanes`` [S * L], from seeds [S * L]."""
        if lanes is None:
            lanes = np.ones(self.copies * self.count, np.bool_)
            self.observation, _ = self._env.reset(seed=[*seeds])
        else:
            self.observation, _ = self._env.reset(seed=[*seeds], options={"reset_mask": lanes})
        shape = (self.copies, self.count)
        actor.begin(lanes.reshape(shape), np.asarray(seeds, np.int64).reshape(shape))

    def act(self, actor: Actor, belief: Belief) -> NDArray[np.float32]:
        """The actor's actions [S * L, act]."""
        action = actor.act(self.tensor(self.observation), belief)
        actions: NDArray[np.float32] = action.flatten(0, 1).cpu().numpy()
        return actions

    def step(self, action: NDArray[np.float32], belief: Belief) -> tuple[NDArray[np.float64], dict[str, Any]]:
        """Take actions [S * L, act] and update the belief; rewards [S * L] and the environment's infos."""
        active, before = self.active, self.observation
        action = self._executed(action)
        self.observation, reward, _, _, info = self._env.step(action)
        if not belief.fixed:
            parts = [self.tensor(part) for part in (before, action, reward, self.observation, active)]
            belief.observe(parts[0], parts[1], parts[2], parts[3], parts[4] > 0.0)
        return reward, info

    def tensor(self, array: NDArray[Any]) -> Tensor:
        """[S * L, ...] -> float32 [S, L, ...] on the agent's device."""
        value = np.asarray(array, np.float32)
        return torch.from_numpy(value).to(self._device).view(self.copies, self.count, *value.shape[1:])
