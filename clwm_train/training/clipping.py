"""Limits on the size of gradients."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn


@torch.no_grad()
def clip_by_seed(parameters: Iterable[nn.Parameter], seeds: int, most: float) -> None:
    """Scale each seed's gradients so that their joint norm is at most ``most``.

    Args:
        parameters: parameters of S seeds, whose first axis is S x copies.
        seeds: S.
        most: the largest norm.
    """
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    if not gradients:
        return
    rows = [gradient.view(seeds, -1) for gradient in gradients]
    norm = torch.stack([row.square().sum(1) for row in rows]).sum(0).sqrt()
    factor = (most / norm.clamp(min=1e-12)).clamp(max=1.0)
    for row in rows:
        row.mul_(factor.unsqueeze(1))
