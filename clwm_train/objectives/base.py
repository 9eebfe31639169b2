"""The interface of a representation objective."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from clwm_train.data.sampler import TaskBatch
from clwm_train.kernels.streams import Noise
from clwm_train.model.world_model import WorldModel


@dataclass(frozen=True)
class Sizes:
    """What the networks and buffers of objectives are made for.

    Attributes:
        seeds: S of them.
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
    """What one update computed of a batch, shared by all objectives.

    Attributes:
        batch: the meta-batch.
        votes: [S, T, K, z], each context transition's own, with gradient to the context encoder.
        z: [S, T, z], their mean, with gradient to the context encoder.
        world_model: with gradient; ``None`` for methods on raw observations.
        first_code: [S, T, B, code], codes of the windows' first observations, with gradient to the encoder.
        noise: randomness of this update.
    """

    batch: TaskBatch
    votes: Tensor
    z: Tensor
    world_model: WorldModel | None
    first_code: Tensor | None
    noise: Noise


class Objective(nn.Module, ABC):
    """A loss per seed; its state (running means, networks) is part of the checkpoint.

    One backward pass of the sum of all losses serves everything. Context encoder and world model have their
    optimisers; an objective with networks of its own brings an optimiser for them. A network that learns
    from another loss than the context encoder does (an adversary, a variational bound) has both in its sum,
    each detached from what it must not move.

    Attributes:
        name: in metrics and checkpoints.
        label: in tables.
    """

    name: str
    label: str

    @abstractmethod
    def forward(self, representation: Representation) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted loss [S], with gradient, and unweighted metrics [S] by name, without."""

    def make_optimiser(self) -> torch.optim.Optimizer | None:
        """For the objective's own networks; ``None`` where it has none."""
        return None
