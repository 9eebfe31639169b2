"""The interface of a representation objective."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor, nn

from clwm_train.sampler import TaskBatch
from clwm_train.streams import Draws
from clwm_train.world_model import WorldModel


@dataclass(frozen=True)
class Representation:
    """What one update computed of a batch, shared by all objectives.

    Attributes:
        batch: the meta-batch.
        z: [S, T, z], with gradient to the context encoder.
        world_model: with gradient; ``None`` for methods on raw observations.
        first_code: [S, T, B, code], codes of the windows' first observations, with gradient to the encoder.
        noise: randomness of this update.
    """

    batch: TaskBatch
    z: Tensor
    world_model: WorldModel | None
    first_code: Tensor | None
    noise: Draws


class Objective(nn.Module, ABC):
    """A loss per seed; its state (running means, networks) is part of the checkpoint.

    Attributes:
        name: in metrics.
    """

    name: str

    @abstractmethod
    def forward(self, representation: Representation) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted loss [S], with gradient, and unweighted figures [S] by name, without."""
