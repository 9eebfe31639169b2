"""An agent's belief about the task of each lane."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from clwm_train.model.agent import Agent


@dataclass(frozen=True)
class Prior:
    """The task representation before any transition.

    Attributes:
        z: [S, z].
        weight: number of transitions that the prior counts as; 0: the first transition replaces it.
    """

    z: Tensor
    weight: float = 0.0

    def posterior(self, total: Tensor, count: int) -> Tensor:
        """z after some transitions: the mean of their embeddings and of the prior, ``weight`` times.

        Args:
            total: [S, ..., z], sum of the transitions' embeddings.
            count: number of transitions.

        Returns:
            [S, ..., z].
        """
        prior = self.z.view(len(self.z), *[1] * (total.dim() - 2), -1)
        if count + self.weight == 0.0:
            return prior.expand_as(total)
        return (total + self.weight * prior) / (count + self.weight)


def zero_prior(agent: Agent) -> Prior:
    """z = 0, as published."""
    return Prior(
        torch.zeros(len(agent.seeds), agent.context_encoder.size, device=agent.normaliser.mean.device)
    )


class Belief:
    """Belief about the tasks of L lanes.

    Attributes:
        z: [S, L, z], the current representations.
        fixed: no observation changes them.
    """

    z: Tensor
    fixed = False

    def observe(
        self, observation: Tensor, action: Tensor, reward: Tensor, following: Tensor, active: Tensor
    ) -> None:
        """Observe a step of all lanes: [S, L, obs], [S, L, act], [S, L], [S, L, obs], active [S, L] bool."""


class FixedBelief(Belief):
    """A representation that was inferred beforehand: z [S, L, z]."""

    fixed = True

    def __init__(self, z: Tensor) -> None:
        self.z = z


class RunningBelief(Belief):
    """Starts at a prior; after every step the posterior given all transitions of that lane.

    Args:
        agent: agent with a context encoder.
        lanes: number of lanes L.
        prior: z = 0 by default.
    """

    def __init__(self, agent: Agent, lanes: int, prior: Prior | None = None) -> None:
        self._agent = agent
        self._prior = zero_prior(agent) if prior is None else prior
        self._sum = self._prior.z.new_zeros(len(agent.seeds), lanes, agent.context_encoder.size)
        self._seen = 0
        self.z = self._prior.posterior(self._sum, 0)

    @torch.inference_mode()
    def observe(
        self, observation: Tensor, action: Tensor, reward: Tensor, following: Tensor, active: Tensor
    ) -> None:
        """Add a transition's embedding in every active lane; all active lanes have seen equally many."""
        transition = self._agent.transition(observation, action, reward, following)
        vote = self._agent.context_encoder.embed(transition)
        self._seen += 1
        self._sum = torch.where(active.unsqueeze(-1), self._sum + vote, self._sum)
        posterior = self._prior.posterior(self._sum, self._seen)
        self.z = torch.where(active.unsqueeze(-1), posterior, self.z)
