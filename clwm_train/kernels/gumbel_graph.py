"""The computations of :mod:`clwm_train.kernels.gumbel`, in a form that torch.compile fuses into one loop.

Codes are unrolled: everything is elementwise in [S, N, D], so that no intermediate results are written to
memory. The backward pass recomputes the exponentials and logarithms.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from clwm_train.kernels.gumbel import SMALLEST_UNIFORM
from clwm_train.kernels.interleave import channels_first

#: With more codes, the unrolled form takes minutes to compile.
MOST_UNROLLED_CODES = 32


def score(logits: Tensor, target: Tensor) -> Tensor:
    """logits [S, N, C, D], target [S, N, D] -> cross-entropy, averaged over dimensions: [S, N]."""
    terms = _unrolled(logits)
    top = _greatest([term.detach() for term in terms])
    total = _sum([torch.exp(term - top) for term in terms])
    return _error(terms, target, top, total)


def score_and_draw(
    logits: Tensor, target: Tensor, codebook: Tensor, temperature: float, uniform: Tensor
) -> tuple[Tensor, Tensor]:
    """:class:`clwm_train.kernels.gumbel.ScoreAndDraw`: the same draws, up to rounding."""
    error, index = _ScoreAndDraw.apply(  # type: ignore[no-untyped-call]
        logits, target, codebook, 1.0 / temperature, uniform
    )
    return error, index


class _ScoreAndDraw(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, logits: Tensor, target: Tensor, codebook: Tensor, power: float, uniform: Tensor
    ) -> tuple[Tensor, Tensor]:
        terms = _unrolled(logits)
        top = _greatest(terms)
        raised = [torch.exp(term - top) for term in terms]
        total = _sum(raised)
        ratios = _ratios(raised, uniform)
        best, index = ratios[0], torch.zeros_like(target)
        for code, ratio in enumerate(ratios[1:], 1):
            index = torch.where(ratio > best, code, index)
            best = torch.maximum(best, ratio)
        whole = _sum(_powers(ratios, best, power))
        ctx.save_for_backward(logits, target, uniform, top, total, best, whole, codebook)
        ctx.power = power
        return _error(terms, target, top, total), codebook[index]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None, None]:
        """Gradient of the logits from those of error [S, N] and code [S, N, D, X]."""
        logits, target, uniform, top, total, best, whole, codebook = ctx.saved_tensors
        code_gradient = channels_first(gradients[1]).unbind(2)
        share = (gradients[0] / logits.shape[-1]).unsqueeze(-1)
        raised = [torch.exp(term - top) for term in _unrolled(logits)]
        ratios = _ratios(raised, uniform)
        soft = [power / whole for power in _powers(ratios, best, ctx.power)]
        through = [
            _sum([value * gradient for value, gradient in zip(values, code_gradient, strict=True)]) * each
            for values, each in zip((ctx.power * codebook).unbind(0), soft, strict=True)
        ]
        along = _sum(through)
        logit_gradients = [
            (raised[code] / total - (target == code).float()) * share + through[code] - soft[code] * along
            for code in range(len(soft))
        ]
        return torch.stack([part.to(logits.dtype) for part in logit_gradients], 2), None, None, None, None


def _unrolled(logits: Tensor) -> list[Tensor]:
    return [term.float() for term in logits.unbind(2)]


def _error(terms: list[Tensor], target: Tensor, top: Tensor, total: Tensor) -> Tensor:
    at_target = _sum([torch.where(target == code, term, 0.0) for code, term in enumerate(terms)])
    return (total.log() + top - at_target).mean(-1)


def _ratios(raised: list[Tensor], uniform: Tensor) -> list[Tensor]:
    times = [-torch.log(number.clamp(min=SMALLEST_UNIFORM)) for number in uniform.unbind(2)]
    return [each / time for each, time in zip(raised, times, strict=True)]


def _powers(ratios: list[Tensor], best: Tensor, power: float) -> list[Tensor]:
    return ratios if power == 1.0 else [(ratio / best).pow(power) for ratio in ratios]


def _sum(terms: list[Tensor]) -> Tensor:
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total


def _greatest(terms: list[Tensor]) -> Tensor:
    greatest = terms[0]
    for term in terms[1:]:
        greatest = torch.maximum(greatest, term)
    return greatest
