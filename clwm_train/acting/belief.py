"""What an agent takes the task of each lane to be."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from clwm_train.model.agent import Agent


@dataclass(frozen=True)
class Prior:
    """What a task is taken to be before any transition is seen.

    Attributes:
        z: [S, z].
        weight: as many transitions the prior counts for; 0: it is forgotten at the first transition.
    """

    z: Tensor
    weight: float = 0.0

    def posterior(self, total: Tensor, count: int) -> Tensor:
        """z after some transitions: the mean of their votes, and of ``weight`` votes for the prior.

        Args:
            total: [S, ..., z], sum of the votes of the transitions.
            count: how many there are.

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
    """About the tasks of L lanes.

    Attributes:
        z: [S, L, z], the representation to act on now.
    """

    z: Tensor

    def observe(
        self, observation: Tensor, action: Tensor, reward: Tensor, following: Tensor, active: Tensor
    ) -> None:
        """Take in a step of all lanes: [S, L, obs], [S, L, act], [S, L], [S, L, obs], active [S, L] bool."""


class FixedBelief(Belief):
    """A representation that was inferred beforehand: z [S, L, z]."""

    def __init__(self, z: Tensor) -> None:
        self.z = z


class RunningBelief(Belief):
    """Starts at a prior; after every step of a lane the posterior of all that was seen in that lane.

    Args:
        agent: with the context encoder.
        lanes: L.
        prior: z = 0 unless given.
    """

    def __init__(self, agent: Agent, lanes: int, prior: Prior | None = None) -> None:
        self._agent = agent
        self._prior = zero_prior(agent) if prior is None else prior
        self._sum = self._prior.z.new_zeros(len(agent.seeds), lanes, agent.context_encoder.size)
        self._seen = 0
        self.z = self._prior.posterior(self._sum, 0)

    @torch.no_grad()
    def observe(
        self, observation: Tensor, action: Tensor, reward: Tensor, following: Tensor, active: Tensor
    ) -> None:
        """Add a transition's vote in every lane that is still active; active lanes have all seen as many."""
        transition = self._agent.transition(observation, action, reward, following)
        vote = self._agent.context_encoder.embed(transition)
        self._seen += 1
        self._sum = torch.where(active.unsqueeze(-1), self._sum + vote, self._sum)
        posterior = self._prior.posterior(self._sum, self._seen)
        self.z = torch.where(active.unsqueeze(-1), posterior, self.z)
