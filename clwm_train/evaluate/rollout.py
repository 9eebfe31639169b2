"""Episodes of the deterministic policy in many tasks at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from clwm_data.families import TaskFamily
from clwm_train.agent import Agent


class Belief:
    """What the agent takes each lane's task to be.

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


class EpisodeBelief(Belief):
    """z = 0 at the start of the episode; after every step the mean over that episode's transitions."""

    def __init__(self, agent: Agent, lanes: int) -> None:
        self._agent = agent
        self._sum = torch.zeros(
            len(agent.seeds), lanes, agent.context_encoder.size, device=agent.normaliser.mean.device
        )
        self._count = 0
        self.z = self._sum

    @torch.no_grad()
    def observe(
        self, observation: Tensor, action: Tensor, reward: Tensor, following: Tensor, active: Tensor
    ) -> None:
        """Add a transition's vote in every lane that is still active; active lanes have all seen as many."""
        vote = self._agent.context_encoder.embed(
            self._agent.transition(observation, action, reward, following)
        )
        self._count += 1
        self._sum = torch.where(active.unsqueeze(-1), self._sum + vote, self._sum)
        self.z = torch.where(active.unsqueeze(-1), self._sum / self._count, self.z)


@dataclass(frozen=True)
class Episodes:
    """One episode in every lane.

    Attributes:
        returns: [S, L] float64, undiscounted, in the environment's scale.
        success: [S, L] bool, solved at some step; ``None`` where the family has no success.
        lengths: [S, L] int64, steps.
        observations: [S, L, horizon + 1, obs] float32; after its end an episode's last observation is
            repeated.
    """

    returns: NDArray[np.float64]
    success: NDArray[np.bool_] | None
    lengths: NDArray[np.int64]
    observations: NDArray[np.float32]


def roll_out(
    agent: Agent,
    family: TaskFamily,
    tasks: Sequence[int],
    belief: Belief,
    seeds: Sequence[int],
    *,
    threads: int = 1,
) -> Episodes:
    """Run one episode per lane, all lanes (and all S seeds of the agent) in one vector environment.

    Args:
        agent: of S seeds.
        family: of tasks.
        tasks: [L] task index of each lane.
        belief: about the lanes' tasks.
        seeds: [L] of the episodes, the same for every seed of the agent.
        threads: that the simulator may use.
    """
    copies, lanes = len(agent.seeds), len(tasks)
    device = agent.normaliser.mean.device
    env = family.make_vec_env([*tasks] * copies, threads=threads)
    try:

        def to_agent(array: NDArray[np.generic]) -> Tensor:
            value = np.asarray(array, np.float32)
            return torch.from_numpy(value).to(device).view(copies, lanes, *value.shape[1:])

        observation, _ = env.reset(seed=[*seeds] * copies)
        seen = [observation]
        returns = np.zeros(copies * lanes)
        lengths = np.zeros(copies * lanes, np.int64)
        success = np.zeros(copies * lanes, np.bool_)
        while env.active.any():
            active = env.active
            action = agent.act(to_agent(observation), belief.z).flatten(0, 1).cpu().numpy()
            following, reward, _, _, info = env.step(action)
            belief.observe(
                to_agent(observation),
                to_agent(action),
                to_agent(reward),
                to_agent(following),
                to_agent(active) > 0.0,
            )
            returns += reward
            lengths += active
            success |= info.get("success", False)
            observation = following
            seen.append(observation)
    finally:
        env.close()
    seen += [observation] * (family.horizon + 1 - len(seen))

    def by_seed(array: NDArray[np.generic]) -> NDArray[np.generic]:
        return array.reshape(copies, lanes, *array.shape[1:])

    return Episodes(
        returns=by_seed(returns),  # type: ignore[arg-type]
        success=by_seed(success) if family.has_success else None,  # type: ignore[arg-type]
        lengths=by_seed(lengths),  # type: ignore[arg-type]
        observations=by_seed(np.stack(seen, 1)),  # type: ignore[arg-type]
    )
