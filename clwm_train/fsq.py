"""Finite scalar quantisation (Mentzer et al. 2023, "Finite Scalar Quantization: VQ-VAE Made Simple")."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor, nn

#: Widens the bounded range a little, so that the outermost levels are reached with room to spare.
MARGIN = 1e-3


class FSQ(nn.Module):
    """Rounds each channel to one of a few levels, with a straight-through gradient.

    Channel i with L levels takes the values {-(L // 2), ..., (L - 1) // 2} / (L // 2): symmetric for odd L,
    one more level below zero than above for even L. A latent dimension is one group of channels.

    Args:
        levels: number of levels of each channel, at least 2; [5, 3] means 2 channels and 15 codes.

    Attributes:
        channels: number of channels C.
        codes: number of different codes, the product of the levels.
        codebook: [codes, C], the code of every index.
    """

    codebook: Tensor
    _level: Tensor
    _half_width: Tensor
    _half_range: Tensor
    _offset: Tensor
    _shift: Tensor
    _basis: Tensor

    def __init__(self, levels: Sequence[int]) -> None:
        super().__init__()
        self.channels = len(levels)
        self.codes = prod(levels)
        level = torch.tensor(levels, dtype=torch.int64)
        even = (level % 2 == 0).float()
        half_range = (level - 1) * (1.0 + MARGIN) / 2.0
        self._constant("_level", level)
        self._constant("_half_width", level // 2)
        self._constant("_half_range", half_range)
        self._constant("_offset", 0.5 * even)
        # Makes an input of 0 come out as exactly 0 for even levels too.
        self._constant("_shift", torch.atanh(0.5 * even / half_range))
        self._constant("_basis", torch.tensor([prod(levels[:i]) for i in range(len(levels))]))
        self._constant("codebook", self.index_to_code(torch.arange(self.codes)))

    def _constant(self, name: str, value: Tensor) -> None:
        self.register_buffer(name, value, persistent=False)

    def _bound(self, x: Tensor) -> Tensor:
        return torch.tanh(x + self._shift) * self._half_range - self._offset

    def forward(self, x: Tensor) -> Tensor:
        """Quantise [..., C] -> codes [..., C] in [-1, 1]; the rounding passes gradients as the identity."""
        bounded = self._bound(x)
        return (bounded + (bounded.round() - bounded).detach()) / self._half_width

    @torch.no_grad()
    def index(self, x: Tensor) -> Tensor:
        """Index in [0, codes) of the code that [..., C] is quantised to: [...] int64."""
        return self._to_index(self._bound(x).round())

    def code_to_index(self, code: Tensor) -> Tensor:
        """Index [...] int64 of codes [..., C]."""
        return self._to_index((code * self._half_width).round())

    def index_to_code(self, index: Tensor) -> Tensor:
        """Codes [..., C] of indices [...]."""
        digit = index.unsqueeze(-1) // self._basis % self._level
        return (digit - self._half_width) / self._half_width

    def _to_index(self, rounded: Tensor) -> Tensor:
        return ((rounded.long() + self._half_width) * self._basis).sum(-1)
