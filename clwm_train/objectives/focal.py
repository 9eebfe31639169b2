"""The distance-metric loss of FOCAL (Li et al. 2021, arXiv 2010.01112)."""

from __future__ import annotations

import torch
from torch import Tensor

from clwm_train.config import FocalConfig
from clwm_train.objectives.base import Objective, Representation

#: Keeps the square root's gradient finite.
SAME_FLOOR = 1e-3
#: Bounds the repulsion of coinciding representations.
DIFFERENT_FLOOR = 0.1


class Focal(Objective):
    """Over pairs of a meta-batch, d = mean over entries of (z_i - z_j)^2.

    For pairs of the same task, sqrt(d + 1e-3) attracts; for pairs of different tasks, 1 / (d + 0.1) repels.
    Each kind is averaged over its pairs; a meta-batch without pairs of a kind has no such term.
    """

    name = "focal"
    label = "FOCAL"

    def __init__(self, config: FocalConfig) -> None:
        super().__init__()
        self.config = config

    def forward(self, representation: Representation) -> tuple[Tensor, dict[str, Tensor]]:
        """Mean over same-task pairs + mean over different-task pairs."""
        z, task = representation.z, representation.batch.task
        first, second = torch.triu_indices(z.shape[1], z.shape[1], offset=1, device=z.device)
        distance = (z[:, first] - z[:, second]).square().mean(-1)
        same = (task[:, first] == task[:, second]).float()
        pull = _mean((distance + SAME_FLOOR).sqrt(), same)
        push = _mean(1.0 / (distance + DIFFERENT_FLOOR), 1.0 - same)
        return self.config.weight * (pull + push), {"same": pull.detach(), "different": push.detach()}


def _mean(value: Tensor, weight: Tensor) -> Tensor:
    """Weighted mean over pairs [S, pairs] -> [S]; 0 if all weights are 0."""
    return (value * weight).sum(-1) / weight.sum(-1).clamp(min=1.0)
