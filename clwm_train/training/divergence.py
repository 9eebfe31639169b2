"""Detecting a training that has diverged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from clwm_data.errors import DivergedError


def check_finite(tensors: Mapping[str, Tensor], seeds: Sequence[int], updates: int) -> None:
    """Check that weights and optimisers' moments are finite.

    A gradient can be infinite although the loss is finite; once a second moment is infinite, Adam silently
    stops changing that weight.

    Args:
        tensors: tensors by name; the first axis of those with several entries is that of the seeds.
        seeds: the S seeds.
        updates: updates done so far.

    Raises:
        DivergedError: a tensor is not finite; the message names the first one and its seed.
    """
    for name, value in tensors.items():
        if not torch.isfinite(value).all():
            whose = ""
            if value.dim() and len(value) == len(seeds):
                finite = torch.isfinite(value).flatten(1).all(1).tolist()
                whose = f" of seed {seeds[finite.index(False)]}"
            raise DivergedError(f"{name}{whose} is not finite after update {updates}")
