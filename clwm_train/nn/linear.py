"""Layers whose parameters carry a leading member axis."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from clwm_train.nn.initialise import Initialiser
from clwm_train.nn.norm_mish import norm_mish, norm_mish_graph


class Linear(nn.Module):
    """Affine map per member: x [M, ..., inputs] -> [M, ..., outputs]; weight [M, inputs, outputs].

    Attributes:
        bf16: multiply in bfloat16 (sums are kept in single precision, and so are the weights).
        bf16_output: with ``bf16``, leave the output in bfloat16.
    """

    bf16 = False
    bf16_output = False

    def __init__(
        self,
        initialiser: Initialiser,
        parts: Sequence[int],
        outputs: int,
        *,
        copies: int = 1,
        hidden: bool = True,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(initialiser.weight(parts, outputs, copies=copies, hidden=hidden))
        self.bias = nn.Parameter(torch.zeros(len(self.weight), 1, outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Apply each member's map to its own slice of ``x``."""
        members, inputs, outputs = self.weight.shape
        rows = x.reshape(members, -1, inputs)
        if self.bf16:
            y = torch.baddbmm(self.bias.bfloat16(), rows.bfloat16(), self.weight.bfloat16())
            y = y if self.bf16_output else y.float()
        else:
            y = torch.baddbmm(self.bias, rows.to(self.weight.dtype), self.weight)
        return y.view(*x.shape[:-1], outputs)

    def product(self, x: Tensor) -> Tensor:
        """x [M, N, inputs] by the weight, without the bias; in bfloat16 with ``bf16``."""
        kind = torch.bfloat16 if self.bf16 else self.weight.dtype
        return torch.bmm(x.to(kind), self.weight.to(kind))


class NormMish(nn.Module):
    """Layer normalisation over the last axis, with gain and bias [M, 1, size] per member, then Mish."""

    def __init__(self, members: int, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(members, 1, size))
        self.bias = nn.Parameter(torch.zeros(members, 1, size))

    def forward(self, x: Tensor) -> Tensor:
        """x [M, N, size] -> the same shape."""
        return norm_mish(x, self.weight, self.bias)

    def graph(self, x: Tensor, shift: Tensor) -> Tensor:
        """The same of x + shift, shift [M, 1, size], for torch.compile."""
        return norm_mish_graph(x, shift, self.weight, self.bias)
