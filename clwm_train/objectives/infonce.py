"""Contrast of task representations with running means (InfoNCE, van den Oord et al. 2018; DORA's form)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from clwm_train.config import InfoNCEConfig
from clwm_train.objectives.base import Objective, Representation, Sizes


class InfoNCE(Objective):
    """Contrasts the z of a task with running means m_i of the z of every train task i.

    The query is the mean z of a task over its occurrences in the meta-batch (drawn with replacement, a task
    may occur twice: it is merged, not contrasted with itself). The keys are the running means of all train
    tasks seen so far; the task's own one is the only positive. With similarity = -||query - key||_2 / radius,
    the loss is the cross-entropy against the own task, averaged over the tasks of the meta-batch. A task's
    running mean starts at its first z.

    Args:
        config: weight, radius, EMA rate.
        sizes: sizes of seeds, train tasks M and z.

    Attributes:
        mean: [S, M, z] running means.
        seen: [S, M] bool, tasks that have a running mean.
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
        """Updates the running means, then computes the loss; gradients flow only through the queries."""
        task = representation.batch.task
        query, count = merge_by_task(representation.z, task)
        self._move(query.detach(), task)
        # Differences, not a matrix product: rounded to TF32, a distance of 0.05 comes out as 0.03 to 0.07.
        distance = torch.linalg.vector_norm(query.unsqueeze(2) - self.mean.unsqueeze(1), dim=-1)
        logits = (-distance / self.config.radius).masked_fill(~self.seen.unsqueeze(1), -torch.inf)
        error = functional.cross_entropy(logits.flatten(0, 1), task.flatten(), reduction="none").view_as(
            count
        )
        # Weighted by one over the number of occurrences, so that each task counts once.
        share = 1.0 / count
        share = share / share.sum(-1, keepdim=True)
        loss = (error * share).sum(-1)
        accuracy = ((logits.argmax(-1) == task) * share).sum(-1)
        return self.config.weight * loss, {"loss": loss.detach(), "accuracy": accuracy.detach()}

    def _move(self, query: Tensor, task: Tensor) -> None:
        """Update only the rows of the batch's tasks, so that the cost does not grow with all tasks."""
        rows = task.unsqueeze(-1).expand(query.shape)
        rate = torch.where(self.seen.gather(1, task), self.config.tau, 1.0).unsqueeze(-1)
        self.mean.scatter_(1, rows, self.mean.gather(1, rows).lerp(query, rate))
        self.seen.scatter_(1, task, True)


def merge_by_task(z: Tensor, task: Tensor) -> tuple[Tensor, Tensor]:
    """Mean z of each row's task over its occurrences in a meta-batch, and their number.

    Args:
        z: [S, T, z].
        task: [S, T] int64.

    Returns:
        means [S, T, z], the same for all occurrences of a task, and counts [S, T].
    """
    same = (task.unsqueeze(2) == task.unsqueeze(1)).to(z.dtype)
    count = same.sum(2)
    return (same.unsqueeze(-1) * z.unsqueeze(1)).sum(2) / count.unsqueeze(-1), count
