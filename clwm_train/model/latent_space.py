"""Latent spaces: maps from an encoder's raw output to latent codes."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from clwm_train.model.fsq import FSQ


class LatentSpace(nn.Module, ABC):
    """A map from raw encoder outputs [..., size] to codes [..., size].

    Attributes:
        size: entries of a code.
        residual: dynamics in this space predict the change of the code rather than the next code.
    """

    size: int
    residual: bool = False

    @abstractmethod
    def forward(self, raw: Tensor) -> Tensor:
        """The code of a raw output; differentiable (straight-through if it rounds)."""


class ContinuousSpace(LatentSpace):
    """No bound and no quantisation."""

    residual = True

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, raw: Tensor) -> Tensor:
        """The raw output itself."""
        return raw


class SimNormSpace(LatentSpace):
    """A softmax in each group of entries (Hansen et al. 2024, TD-MPC2).

    Args:
        size: entries of a code, a multiple of ``group``.
        group: entries of a group.
    """

    def __init__(self, size: int, group: int) -> None:
        super().__init__()
        self.size = size
        self.group = group

    def forward(self, raw: Tensor) -> Tensor:
        """Entries in [0, 1] that add up to 1 in each group."""
        return raw.reshape(*raw.shape[:-1], -1, self.group).softmax(-1).flatten(-2)


class DiscreteSpace(LatentSpace):
    """FSQ codes: ``dimensions`` groups of channels, each one of ``fsq.codes`` values.

    Args:
        dimensions: latent dimensions.
        fsq: the quantiser of so many groups.
    """

    def __init__(self, dimensions: int, fsq: FSQ) -> None:
        super().__init__()
        self.dimensions = dimensions
        self.fsq = fsq
        self.size = dimensions * fsq.channels

    def forward(self, raw: Tensor) -> Tensor:
        """Codes in [-1, 1]."""
        code: Tensor = self.fsq(self._grouped(raw))
        return code.flatten(-2)

    def index(self, raw: Tensor) -> Tensor:
        """Index of each latent dimension's code: [..., size] -> [..., dimensions] int64."""
        return self.fsq.index(self._grouped(raw))

    def _grouped(self, raw: Tensor) -> Tensor:
        return raw.reshape(*raw.shape[:-1], self.dimensions, self.fsq.channels)
