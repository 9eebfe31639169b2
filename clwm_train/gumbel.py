"""Cross-entropy and straight-through Gumbel-softmax draw of the same logits, from one exponential."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class ScoreAndDraw(torch.autograd.Function):
    """logits [..., C], target [...], E [..., C], codebook [C, D], temperature -> error [...], code [..., D].

    With p = softmax(logits) and E standard exponential, -log E is Gumbel noise, so that
    softmax((logits - log E) / temperature) is (p / E)^(1 / temperature), normalised. The error is the
    cross-entropy; the code is the codebook's entry at the maximum, and its gradient that of the softmax
    (straight-through; Jang et al. 2017).
    """

    @staticmethod
    def forward(
        ctx: Any, logits: Tensor, target: Tensor, exponential: Tensor, codebook: Tensor, temperature: float
    ) -> tuple[Tensor, Tensor]:
        """See the class."""
        p = logits - logits.amax(-1, keepdim=True)
        at_target = p.gather(-1, target.unsqueeze(-1))
        total = p.exp_().sum(-1, keepdim=True)
        error = (total.log() - at_target).squeeze(-1)
        p.div_(total)
        soft = p / exponential
        code = codebook[soft.argmax(-1)]
        if ctx.needs_input_grad[0]:
            if temperature != 1.0:
                soft.div_(soft.amax(-1, keepdim=True)).pow_(1.0 / temperature)
            soft.div_(soft.sum(-1, keepdim=True))
            ctx.save_for_backward(p, target, soft, codebook)
            ctx.temperature = temperature
        return error, code

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None, None]:
        """Gradients of error [...] and code [..., D] to that of the logits."""
        p, target, soft, codebook = ctx.saved_tensors
        of_error = gradients[0].unsqueeze(-1)
        result = p * of_error
        result.scatter_add_(-1, target.unsqueeze(-1), -of_error)
        upstream = gradients[1] @ codebook.T
        upstream -= (soft * upstream).sum(-1, keepdim=True)
        return result.addcmul_(soft, upstream, value=1.0 / ctx.temperature), None, None, None, None
