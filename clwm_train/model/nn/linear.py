"""Layers whose parameters carry a leading member axis."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from clwm_train.kernels.norm_mish import norm_mish, norm_mish_graph
from clwm_train.model.nn.initialise import Initialiser


class Linear(nn.Module):
    """Affine map per member: x [M, ..., inputs] -> [M, ..., outputs]; weight [M, inputs, outputs].

    M = seeds x copies. The copies of a seed may share their input, x [seeds, ..., inputs], which is then not
    repeated for each of them.

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
        """Apply each member's map to its slice of ``x``, which the copies of a seed may share."""
        members, inputs, outputs = self.weight.shape
        rows = x.reshape(len(x), -1, inputs)
        if len(x) != members:
            y = self.product(rows)
            y = y + self.bias.to(y.dtype)
        elif self.bf16:
            y = torch.baddbmm(self.bias.bfloat16(), rows.bfloat16(), self.weight.bfloat16())
        else:
            y = torch.baddbmm(self.bias, rows.to(self.weight.dtype), self.weight)
        if self.bf16 and not self.bf16_output:
            y = y.float()
        return y.view(members, *x.shape[1:-1], outputs)

    def product(self, x: Tensor) -> Tensor:
        """x [M or seeds, N, inputs] times the weight, without bias: [M, N, outputs], bfloat16 if ``bf16``."""
        kind = torch.bfloat16 if self.bf16 else self.weight.dtype
        x, weight = x.to(kind), self.weight.to(kind)
        seeds, copies = len(x), len(weight) // len(x)
        if copies > 1 and self.bf16:  # oneDNN takes a repeated matrix as it is, unless it must round it
            x = x.unsqueeze(1).expand(-1, copies, -1, -1).flatten(0, 1)
        if len(x) == len(weight):
            return torch.bmm(x, weight)
        _, inputs, outputs = weight.shape
        side_by_side = weight.view(seeds, copies, inputs, outputs).transpose(1, 2).flatten(2)
        y = torch.bmm(x, side_by_side).view(seeds, -1, copies, outputs)
        return y.transpose(1, 2).flatten(0, 1)


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
        """The same for x + shift, shift [M, 1, size], for torch.compile."""
        return norm_mish_graph(x, shift, self.weight, self.bias)
