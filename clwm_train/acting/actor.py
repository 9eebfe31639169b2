"""Actors, which choose the actions in an evaluation: the policy, or a planner."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from clwm_data.errors import InvalidInputError
from clwm_train.acting.belief import Belief
from clwm_train.acting.noise import EpisodeNoise
from clwm_train.kernels.streams import Purpose
from clwm_train.model.agent import Agent


class Actor(ABC):
    """Chooses the actions of L lanes, for all S seeds of an agent.

    Attributes:
        agent: the agent.
    """

    agent: Agent

    @abstractmethod
    def begin(self, started: NDArray[np.bool_], episodes: NDArray[np.int64]) -> None:
        """Called when lanes begin an episode, before its first action.

        Args:
            started: [S, L], the lanes that begin one.
            episodes: [S, L], seeds of the episodes; random numbers of an episode depend only on its own seed.
        """

    @abstractmethod
    def act(self, observation: Tensor, belief: Belief) -> Tensor:
        """Actions [S, L, act] in [-1, 1] for observations [S, L, obs] in the environment's scale."""


class PolicyActor(Actor):
    """The policy's mean action, as published, or a sampled one.

    Args:
        agent: agent of S seeds.
        noise: factor on the policy's standard deviations; 1: the policy as it was trained; 0: its mean.

    Raises:
        InvalidInputError: noise with a deterministic policy.
    """

    def __init__(self, agent: Agent, noise: float = 0.0) -> None:
        if noise and not agent.policy.stochastic:
            raise InvalidInputError("--noise: the agent's policy is deterministic: evaluate it without")
        self.agent = agent
        self._noise = noise
        self._draws = EpisodeNoise(agent.seeds, Purpose.ACTION, agent.normaliser.mean.device)

    def begin(self, started: NDArray[np.bool_], episodes: NDArray[np.int64]) -> None:
        """See :class:`Actor`."""
        if self._noise:
            self._draws.begin(started, episodes)

    def act(self, observation: Tensor, belief: Belief) -> Tensor:
        """See :class:`Actor`."""
        if not self._noise:
            return self.agent.act(observation, belief.z)
        noise = self._draws.normal(self.agent.policy.noise_size)
        return self.agent.act(observation, belief.z, noise, self._noise)
