"""The interface of a representation objective."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from clwm_train.data.sampler import TaskBatch
from clwm_train.kernels.streams import Noise
from clwm_train.model.world_model import WorldModel


@dataclass(frozen=True)
class Sizes:
    """Sizes of the networks and buffers of objectives.

    Attributes:
        seeds: number of seeds S.
        tasks: number of train tasks M.
        observation: entries of an observation.
        action: entries of an action.
        z: entries of z.
    """

    seeds: tuple[int, ...]
    tasks: int
    observation: int
    action: int
    z: int


@dataclass(frozen=True)
class Representation:
    """What an update computes from a batch for all objectives.

    Attributes:
        batch: the meta-batch.
        votes: [S, T, K, z], embedding of each context transition, with gradient to the context encoder.
        z: [S, T, z], mean of the embeddings, with gradient to the context encoder.
        world_model: the world model, with gradient; ``None`` for methods on raw observations.
        first_code: [S, T, B, code], codes of the windows' first observations, with gradient to the encoder.
        noise: randomness of this update.
        critic_error: error [S, T, B, H] of critics that learn on roll-outs, from their states [S, T, B, H,
            code + z], with gradient; ``None`` if they learn apart.
    """

    batch: TaskBatch
    votes: Tensor
    z: Tensor
    world_model: WorldModel | None
    first_code: Tensor | None
    noise: Noise
    critic_error: Callable[[Tensor], Tensor] | None = None


class Objective(nn.Module, ABC):
    """A loss per seed; its state (running means, networks) is part of the checkpoint.

    There is one backward pass of the sum of all losses. Context encoder and world model have their own
    optimisers; an objective with its own networks provides an optimiser for them. If those networks learn
    from another loss than the context encoder (an adversary, a variational bound), the objective returns the
    sum of both losses, each detached from the networks that it must not train.

    Attributes:
        name: its name in metrics and checkpoints.
        label: its label in tables.
    """

    name: str
    label: str

    @abstractmethod
    def forward(self, representation: Representation) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted loss [S], with gradient, and unweighted metrics [S] by name, without gradient."""

    def make_optimiser(self) -> torch.optim.Optimizer | None:
        """The optimiser of the objective's own networks; ``None`` if it has none."""
        return None
