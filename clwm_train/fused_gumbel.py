"""What :mod:`clwm_train.gumbel` computes, by compiled kernels (:mod:`clwm_train.fuse`)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from clwm_train.fuse import Kernel
from clwm_train.gumbel import MOST_PACKED_CODES
from clwm_train.streams import Draws


class FusedScore(torch.autograd.Function):
    """:class:`clwm_train.gumbel.Score`."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, target: Tensor) -> Tensor:
        """See the class."""
        target = target.int()
        error, raised, total = _score_kernel(logits, target)
        ctx.save_for_backward(raised, total, target)
        ctx.dtype = logits.dtype
        result: Tensor = error
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        """Gradient of the error [S, N] to that of the logits."""
        return _score_gradient_kernel(*ctx.saved_tensors, gradients[0]).to(ctx.dtype), None


class FusedScoreAndDraw(torch.autograd.Function):
    """:class:`clwm_train.gumbel.ScoreAndDraw`: the same draws."""

    @staticmethod
    def forward(
        ctx: Any, logits: Tensor, target: Tensor, codebook: Tensor, temperature: float, noise: Draws
    ) -> tuple[Tensor, Tensor]:
        """See the class."""
        target = target.int()
        codes = logits.shape[2]
        low = (1 << (codes - 1).bit_length()) - 1 if codes <= MOST_PACKED_CODES else 0
        uniform = noise.uniform(*logits.shape[1:])
        error, index, raised, total, ratio, ratios = _draw_kernel(
            logits, target, uniform, 1.0 / temperature, low
        )
        ctx.save_for_backward(raised, total, ratio, ratios, target, codebook / temperature)
        ctx.dtype = logits.dtype
        return error, codebook[index]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None, None]:
        """Gradients of error [S, N] and code [S, N, D, X] to that of the logits."""
        of_code = gradients[1].transpose(2, 3).contiguous()
        of_logits = _draw_gradient_kernel(*ctx.saved_tensors, gradients[0], of_code)
        return of_logits.to(ctx.dtype), None, None, None, None


def _score(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Cross-entropy [S, N]; exp(logits) [S, N, C, D] and its sum over codes, both scaled by the same."""
    logits = logits.float()
    top = logits.amax(2, keepdim=True)
    raised = torch.exp(logits - top)
    total = raised.sum(2, keepdim=True)
    at_target = torch.where(_is_target(logits, target), logits, 0.0).sum(2)
    return ((total.log() + top).squeeze(2) - at_target).mean(-1), raised, total


def _score_gradient(raised: Tensor, total: Tensor, target: Tensor, of_error: Tensor) -> Tensor:
    p = raised / total
    share = (of_error / p.shape[-1]).unsqueeze(-1).unsqueeze(-1)
    return torch.where(_is_target(p, target), p - 1.0, p) * share


def _draw(
    logits: Tensor, target: Tensor, uniform: Tensor, power: float, low: int
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Error, drawn index [S, N, D], exp(logits) and sum, Gumbel-softmax before normalisation and sum."""
    error, raised, total = _score(logits, target)
    ratio = raised / -torch.log(uniform)
    if low:
        code = _codes(ratio)
        index = ratio.view(torch.int32).bitwise_and(~low).bitwise_or(code).amax(2).bitwise_and(low)
    else:
        index = ratio.argmax(2).int()
    if power != 1.0:
        ratio = (ratio / ratio.amax(2, keepdim=True)).pow(power)
    return error, index, raised, total, ratio, ratio.sum(2, keepdim=True)


def _draw_gradient(
    raised: Tensor,
    total: Tensor,
    ratio: Tensor,
    ratios: Tensor,
    target: Tensor,
    codebook: Tensor,
    of_error: Tensor,
    of_code: Tensor,
) -> Tensor:
    """``of_code`` [S, N, X, D]."""
    soft = ratio / ratios
    through = codebook[:, :1] * of_code[:, :, :1]
    for channel in range(1, codebook.shape[1]):
        through = through + codebook[:, channel : channel + 1] * of_code[:, :, channel : channel + 1]
    through = through * soft
    of_logits = _score_gradient(raised, total, target, of_error)
    return of_logits + through - soft * through.sum(2, keepdim=True)


def _codes(like: Tensor) -> Tensor:
    return torch.arange(like.shape[2], device=like.device, dtype=torch.int32).view(-1, 1)


def _is_target(like: Tensor, target: Tensor) -> Tensor:
    """[S, N, C, D], whether the code is the target [S, N, D]."""
    return _codes(like) == target.unsqueeze(2)


_score_kernel = Kernel(_score)
_score_gradient_kernel = Kernel(_score_gradient)
_draw_kernel = Kernel(_draw)
_draw_gradient_kernel = Kernel(_draw_gradient)
