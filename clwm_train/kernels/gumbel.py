"""Cross-entropy and straight-through Gumbel-softmax draw of the same logits, from one exponential.

The codes axis comes first, [N, C, D]: reductions over the few codes then run along contiguous dimensions,
several times faster on CPU than over the last axis. Rows are processed in pieces that stay in the cache.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from clwm_train.kernels.chunked import member_pieces

#: A uniform number of 0 would exclude its code, even if all others' probabilities underflow to 0.
SMALLEST_UNIFORM = 2.0**-25
#: Codes whose index fits into the lowest bits of a float's 23-bit mantissa.
MOST_PACKED_CODES = 64


class Score(torch.autograd.Function):
    """logits [S, N, C, D], target [S, N, D] -> cross-entropy, averaged over dimensions: [S, N]."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, target: Tensor) -> Tensor:
        """See the class."""
        p = torch.empty(logits.shape, device=logits.device)
        error = torch.empty(logits.shape[:2], device=logits.device)
        for piece in member_pieces(logits):
            error[piece] = _softmax(logits[piece], target[piece], p[piece])
        ctx.save_for_backward(p, target)
        ctx.dtype = logits.dtype
        return error

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        """Gradient of the logits from that of the error [S, N]."""
        p, target = ctx.saved_tensors
        result = torch.empty(p.shape, dtype=ctx.dtype, device=p.device)
        for piece in member_pieces(p):
            result[piece] = _softmax_gradient(p[piece], target[piece], gradients[0][piece])
        return result, None


class ScoreAndDraw(torch.autograd.Function):
    """logits [S, N, C, D], target [S, N, D], codebook [C, X], temperature, uniform [S, N, C, D]
    -> error [S, N], code [S, N, D, X].

    With p = softmax(logits) and E standard exponential, -log E is Gumbel noise, so that
    softmax((logits - log E) / temperature) is (p / E)^(1 / temperature), normalised. The error is the
    cross-entropy, averaged over dimensions; the code is the codebook's entry at the maximum, and its gradient
    that of the softmax (straight-through; Jang et al. 2017).
    """

    @staticmethod
    def forward(
        ctx: Any, logits: Tensor, target: Tensor, codebook: Tensor, temperature: float, uniform: Tensor
    ) -> tuple[Tensor, Tensor]:
        """See the class."""
        seeds, rows, _, dimensions = logits.shape
        p, soft = (torch.empty(logits.shape, device=logits.device) for _ in range(2))
        error = torch.empty(logits.shape[:2], device=logits.device)
        code = torch.empty(seeds, rows, dimensions, codebook.shape[1], device=logits.device)
        for piece in member_pieces(logits):
            mine, drawn = p[piece], soft[piece]
            error[piece] = _softmax(logits[piece], target[piece], mine)
            # log(u) = -E: the sign flips all entries and cancels in the quotient below.
            torch.clamp(uniform[piece], min=SMALLEST_UNIFORM, out=drawn)
            torch.div(mine, drawn.log_(), out=drawn)
            index = _argmax_of_negative(drawn)
            for channel, values in enumerate(codebook.T):
                code[piece][..., channel] = values[index]
            if temperature != 1.0:
                drawn.div_(drawn.amin(1, keepdim=True)).pow_(1.0 / temperature)
            drawn.mul_(drawn.sum(1, keepdim=True).reciprocal_())
        ctx.save_for_backward(p, target, soft, codebook)
        ctx.temperature, ctx.dtype = temperature, logits.dtype
        return error, code

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None, None]:
        """Gradient of the logits from those of error [S, N] and code [S, N, D, X]."""
        p, target, soft, codebook = ctx.saved_tensors
        scaled = (codebook / ctx.temperature).unsqueeze(-1)
        result = torch.empty(p.shape, dtype=ctx.dtype, device=p.device)
        for piece in member_pieces(p):
            code_gradient = gradients[1][piece].transpose(1, 2).contiguous()
            through = scaled[:, 0] * code_gradient[:, :1]
            for channel in range(1, codebook.shape[1]):
                through.addcmul_(scaled[:, channel], code_gradient[:, channel : channel + 1])
            through.mul_(soft[piece])
            through.addcmul_(soft[piece], through.sum(1, keepdim=True), value=-1.0)
            error_gradient = _softmax_gradient(p[piece], target[piece], gradients[0][piece])
            result[piece] = error_gradient.add_(through)
        return result, None, None, None, None


def _softmax(logits: Tensor, target: Tensor, out: Tensor) -> Tensor:
    """Write softmax [R, C, D] over codes; returns the cross-entropy [R], averaged over dimensions."""
    logits = logits.float()
    torch.sub(logits, logits.amax(1, keepdim=True), out=out)
    at_target = out.gather(1, target.unsqueeze(1))
    total = out.exp_().sum(1, keepdim=True)
    error = (total.log() - at_target).mean((1, 2))
    out.mul_(total.reciprocal_())
    return error


def _softmax_gradient(p: Tensor, target: Tensor, error_gradient: Tensor) -> Tensor:
    """Gradient of the logits [R, C, D] from that of ``_softmax``'s error [R]."""
    share = (error_gradient / p.shape[-1]).view(-1, 1, 1)
    result = p * share
    return result.scatter_add_(1, target.unsqueeze(1), -share.expand(-1, 1, p.shape[-1]))


def _argmax_of_negative(value: Tensor) -> Tensor:
    """Position of the smallest of the negative numbers [R, C, D] over C: [R, D] int64.

    For up to 64 codes, the code's index is written into the lowest bits of the number, and one maximum over
    integers finds both (among negative floats, the smallest is the largest as an integer). Numbers whose
    remaining bits agree, within 2^-17 of their size, count as a tie.
    """
    codes = value.shape[1]
    if codes > MOST_PACKED_CODES:
        return value.argmin(1)
    low = (1 << (codes - 1).bit_length()) - 1
    index = torch.arange(codes, dtype=torch.int32, device=value.device).view(-1, 1)
    return value.view(torch.int32).bitwise_and(~low).bitwise_or_(index).amax(1).bitwise_and_(low).long()
