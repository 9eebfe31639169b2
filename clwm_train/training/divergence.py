"""Recognising a training that has diverged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from clwm_data.errors import DivergedError


def check_finite(tensors: Mapping[str, Tensor], seeds: Sequence[int], updates: int) -> None:
    """Refuse weights and optimisers' moments that are not finite.

    A gradient can be infinite where the loss is not, and Adam stands still for ever, without a word, once a
    second moment is.

    Args:
        tensors: by name; those of more than one entry lead with the axis of seeds.
        seeds: S of them.
        updates: done so far.

    Raises:
        DivergedError: naming the first such tensor and its seed.
    """
    for name, value in tensors.items():
        if not torch.isfinite(value).all():
            of_seed = ""
            if value.dim() and len(value) == len(seeds):
                finite = torch.isfinite(value).flatten(1).all(1).tolist()
                of_seed = f" of seed {seeds[finite.index(False)]}"
            raise DivergedError(f"{name}{of_seed} is not finite after update {updates}")
