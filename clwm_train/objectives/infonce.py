"""Contrast of task representations with running means (InfoNCE, van den Oord et al. 2018; DORA's form)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from clwm_train.config import InfoNCEConfig
from clwm_train.objectives.base import Objective, Representation, Sizes


class InfoNCE(Objective):
    """Every train task i keeps a running mean m_i of its z; a task must be told from the others by it.

    The query is the mean z of a task over its occurrences in the meta-batch (drawn with replacement, a
    task may stand there twice: it is merged, not contrasted with itself). The keys are the running means
    of all train tasks seen so far, the own one being the only positive; similarity = -||query - key||_2
    / radius; the loss is the cross-entropy against the own task, averaged over the tasks present. A
    task's mean starts at its first z.

    Args:
        config: weight, radius, EMA rate.
        sizes: of seeds, train tasks M and z.

    Attributes:
        mean: [S, M, z] running means.
        seen: [S, M] bool, tasks whose mean has begun.
    """

    name = "infonce"
    label = "InfoNCE"
    mean: Tensor
    seen: Tensor

    def __init__(self, config: InfoNCEConfig, sizes: Sizes) -> None:
        super().__init__()
        self.config = config
        seeds = len(sizes.seeds)
        self.register_buffer("mean", torch.zeros(seeds, sizes.tasks, sizes.z))
        self.register_buffer("seen", torch.zeros(seeds, sizes.tasks, dtype=torch.bool))

    def forward(self, representation: Representation) -> tuple[Tensor, dict[str, Tensor]]:
        """Moves the running means, then contrasts; the gradient flows through the queries only."""
        query, present = mean_by_task(representation.z, representation.batch.task, self.mean.shape[1])
        self._move(query.detach(), present)
        similarity = -torch.cdist(query, self.mean) / self.config.radius
        logits = similarity.masked_fill(~self.seen.unsqueeze(1), -torch.inf)
        own = torch.arange(logits.shape[-1], device=logits.device).expand(logits.shape[:-1])
        # Rows of absent tasks may have no finite key at all; their error is replaced, not multiplied by 0.
        safe = torch.where(present.unsqueeze(-1), logits, 0.0)
        error = functional.cross_entropy(safe.flatten(0, 1), own.flatten(), reduction="none").view_as(present)
        weight = present.float()
        count = weight.sum(-1)
        loss = (error * weight).sum(-1) / count
        accuracy = ((logits.argmax(-1) == own) * weight).sum(-1) / count
        return self.config.weight * loss, {"loss": loss.detach(), "accuracy": accuracy.detach()}

    def _move(self, query: Tensor, present: Tensor) -> None:
        rate = torch.where(self.seen, self.config.tau, 1.0) * present
        self.mean.lerp_(query, rate.unsqueeze(-1))
        self.seen.logical_or_(present)


def mean_by_task(z: Tensor, task: Tensor, tasks: int) -> tuple[Tensor, Tensor]:
    """Mean z of each task over its occurrences in a meta-batch.

    Args:
        z: [S, T, z].
        task: [S, T] int64 in [0, tasks).
        tasks: M.

    Returns:
        means [S, M, z] (0 for absent tasks) and presence [S, M] bool.
    """
    # functional.one_hot would check the range, for which the host has to wait.
    member = (task.unsqueeze(-1) == torch.arange(tasks, device=task.device)).to(z.dtype)
    count = member.sum(1)
    mean = member.transpose(1, 2) @ z / count.clamp(min=1.0).unsqueeze(-1)
    return mean, count > 0
