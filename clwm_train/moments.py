"""Running mean and standard deviation of task representations."""

from __future__ import annotations

import torch
from torch import Tensor, nn

#: Share of the newest meta-batch in the running moments; before, all count the same.
RATE = 0.01
#: Entries of z that vary less are not blown up further.
SMALLEST_STD = 0.02


class TaskScale(nn.Module):
    """z -> (z - mean) / std, over the tasks of the latest meta-batches, per seed and entry.

    Args:
        seeds: S of them.
        size: entries of z.

    Attributes:
        mean: [S, z].
        square: [S, z] mean of z^2.
        seen: [] meta-batches so far.
    """

    mean: Tensor
    square: Tensor
    seen: Tensor

    def __init__(self, seeds: int, size: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(seeds, size))
        self.register_buffer("square", torch.ones(seeds, size))
        self.register_buffer("seen", torch.zeros(()))

    @torch.no_grad()
    def watch(self, z: Tensor) -> None:
        """Take a meta-batch [S, T, z] into account."""
        self.seen.add_(1.0)
        rate = (1.0 / self.seen).clamp(min=RATE)
        self.mean.lerp_(z.mean(1), rate)
        self.square.lerp_(z.square().mean(1), rate)

    def forward(self, z: Tensor) -> Tensor:
        """[S, ..., z] -> the same shape."""
        std = (self.square - self.mean.square()).clamp(min=SMALLEST_STD**2).sqrt()
        shape = (len(z), *[1] * (z.dim() - 2), z.shape[-1])
        return (z - self.mean.view(shape)) / std.view(shape)
