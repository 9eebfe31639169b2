"""Finite scalar quantisation (Mentzer et al. 2023, "Finite Scalar Quantization: VQ-VAE Made Simple")."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from clwm_train.kernels.chunked import row_pieces
from clwm_train.kernels.inference import only_acts, quantised
from clwm_train.kernels.interleave import channels_first

#: Widens the bounded range slightly, so that the outermost levels are reached easily.
MARGIN = 1e-3


class FSQ(nn.Module):
    """Rounds each channel to one of a few levels, with a straight-through gradient.

    Channel i with L levels takes the values {-(L // 2), ..., (L - 1) // 2} / (L // 2): symmetric for odd L,
    one more level below zero than above for even L. A latent dimension is one group of channels.

    Args:
        levels: number of levels of each channel, at least 2; [5, 3] means 2 channels and 15 codes.
        groups: number of groups G that are quantised together: inputs are [..., G, C], or [..., C] if G = 1.

    Attributes:
        channels: number of channels C.
        codes: number of different codes, the product of the levels.
        codebook: [codes, C], the code of every index.
    """

    codebook: Tensor
    _level: Tensor
    _basis: Tensor
    _shift: Tensor
    _half_range: Tensor
    _offset: Tensor
    _half_width: Tensor

    def __init__(self, levels: Sequence[int], groups: int = 1) -> None:
        super().__init__()
        self.channels = len(levels)
        self.codes = prod(levels)
        level = torch.tensor(levels, dtype=torch.int64)
        even = (level % 2 == 0).float()
        half_range = (level - 1) * (1.0 + MARGIN) / 2.0
        self._constant("_level", level)
        # Of each entry of a row of G C: repeating them takes longer than a small quantisation.
        self._constant("_half_width", (level // 2).float().repeat(groups))
        self._constant("_half_range", half_range.repeat(groups))
        self._constant("_offset", (0.5 * even).repeat(groups))
        # Maps an input of 0 to exactly 0 for even levels, too.
        self._constant("_shift", torch.atanh(0.5 * even / half_range).repeat(groups))
        self._bases = [prod(levels[:i]) for i in range(len(levels))]
        self._constant("_basis", torch.tensor(self._bases))
        #: Index of the code of zeros.
        self._middle = sum(level // 2 * basis for level, basis in zip(levels, self._bases, strict=True))
        self._constant("codebook", self.index_to_code(torch.arange(self.codes)))

    def _constant(self, name: str, value: Tensor) -> None:
        self.register_buffer(name, value, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Quantise [..., C] -> codes [..., C] in [-1, 1]; the rounding passes gradients as the identity."""
        rows = self._rows(x)
        constants = (self._shift, self._half_range, self._offset, self._half_width)
        if only_acts(rows):
            return quantised(rows, *constants).view(x.shape)
        if not torch.compiler.is_compiling() and not torch.is_grad_enabled():
            return _quantised(rows, *constants).view(x.shape)
        quantise = _QuantiseGraph if torch.compiler.is_compiling() else _Quantise
        code: Tensor = quantise.apply(rows, *constants)  # type: ignore[no-untyped-call]
        return code.view(x.shape)

    @torch.no_grad()
    def index(self, x: Tensor) -> Tensor:
        """Index in [0, codes) of the code that [..., C] is quantised to: [...] int64 (int32 in a compiled
        graph, where comparisons with it are faster). NaN gives some index in the range, so that a diverging
        training ends with a message about it and not with an index out of bounds.
        """
        rows = self._rows(x)
        shift, half_range, offset = self._shift, self._half_range, self._offset
        if torch.compiler.is_compiling():
            digits = (_tanh(rows + shift) * half_range - offset).round()
            digits = torch.where(digits == digits, digits, 0.0)
            by_channel = channels_first(digits.view(len(rows), -1, self.channels)).int()
            index = torch.full_like(by_channel[:, 0], self._middle)
            for channel, basis in enumerate(self._bases):
                index = index + basis * by_channel[:, channel]
            return index.view(x.shape[:-1])
        index = torch.empty(len(rows), rows.shape[1] // self.channels, dtype=torch.int64, device=x.device)
        for piece in row_pieces(rows):
            digits = _bound(rows[piece], shift, half_range, offset).round_()
            total = torch.full_like(digits[:, :: self.channels], self._middle)
            for channel, basis in enumerate(self._bases):
                total.add_(digits[:, channel :: self.channels], alpha=basis)
            index[piece] = total.nan_to_num_(nan=0.0)
        return index.view(x.shape[:-1])

    def _rows(self, x: Tensor) -> Tensor:
        """[..., G, C] -> [N, G C]: operations along a long last axis are several times faster."""
        return x.reshape(-1, len(self._shift))

    def index_to_code(self, index: Tensor) -> Tensor:
        """Codes [..., C] of indices [...]."""
        digit = index.unsqueeze(-1) // self._basis % self._level
        half_width = self._half_width[: self.channels]
        return (digit - half_width) / half_width


class _Quantise(torch.autograd.Function):
    """x [N, size] -> codes; constants [size]."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, shift: Tensor, half_range: Tensor, offset: Tensor, half_width: Tensor
    ) -> Tensor:
        if not ctx.needs_input_grad[0]:
            return _quantised(x, shift, half_range, offset, half_width)
        code, derivative = torch.empty_like(x), torch.empty_like(x)
        scale = half_range / half_width
        for piece in row_pieces(x):
            bounded = torch.tanh(x[piece] + shift)
            torch.addcmul(scale, bounded.square(), scale, value=-1.0, out=derivative[piece])
            bounded.mul_(half_range).sub_(offset).round_()
            torch.div(bounded, half_width, out=code[piece])
        ctx.save_for_backward(derivative)
        return code

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None, None]:
        (derivative,) = ctx.saved_tensors
        return gradients[0] * derivative, None, None, None, None


def _quantised(x: Tensor, shift: Tensor, half_range: Tensor, offset: Tensor, half_width: Tensor) -> Tensor:
    """The codes of :class:`_Quantise`, with nothing kept for a gradient."""
    pieces = [
        _bound(x[piece], shift, half_range, offset).round_().div_(half_width) for piece in row_pieces(x)
    ]
    return pieces[0] if len(pieces) == 1 else torch.cat(pieces)


class _QuantiseGraph(torch.autograd.Function):
    """:class:`_Quantise` in a form that torch.compile fuses."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, shift: Tensor, half_range: Tensor, offset: Tensor, half_width: Tensor
    ) -> Tensor:
        bounded = _tanh(x + shift)
        ctx.save_for_backward(bounded, half_range, half_width)
        return (bounded * half_range - offset).round() / half_width

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None, None]:
        bounded, half_range, half_width = ctx.saved_tensors
        x_gradient = gradients[0] * (1.0 - bounded * bounded) * (half_range / half_width)
        return x_gradient, None, None, None, None


def _tanh(x: Tensor) -> Tensor:
    """tanh with one exponential: compiled, torch's own takes three times as long. Absolute error 1e-7."""
    e = torch.exp(-2.0 * x.abs())
    return torch.copysign((1.0 - e) / (1.0 + e), x)


def _bound(x: Tensor, shift: Tensor, half_range: Tensor, offset: Tensor) -> Tensor:
    return torch.tanh(x + shift).mul_(half_range).sub_(offset)
