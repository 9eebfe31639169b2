"""Who chooses the actions of an evaluation: the policy, or a planner."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from clwm_train.agent import Agent
from clwm_train.evaluate.belief import Belief


class Actor(ABC):
    """Chooses the actions of L lanes and of all S seeds of an agent."""

    @abstractmethod
    def begin(self, started: NDArray[np.bool_]) -> None:
        """Told which lanes [S, L] begin an episode, before the first action in it."""

    @abstractmethod
    def act(self, observation: Tensor, belief: Belief) -> Tensor:
        """Actions [S, L, act] in [-1, 1] for observations [S, L, obs] in the environment's scale."""


class PolicyActor(Actor):
    """The policy's mean action.

    Args:
        agent: of S seeds.
    """

    def __init__(self, agent: Agent) -> None:
        self._agent = agent

    def begin(self, started: NDArray[np.bool_]) -> None:
        """The policy remembers nothing."""

    def act(self, observation: Tensor, belief: Belief) -> Tensor:
        """See :class:`Actor`."""
        return self._agent.act(observation, belief.z)
