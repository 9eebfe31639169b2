"""A copy that a compiled graph makes once, rather than in every loop that reads the result."""

from __future__ import annotations

import torch
from torch import Tensor


def channels_first(x: Tensor) -> Tensor:
    """[..., D, X] -> [..., X, D] float32, for compiled graphs.

    On CPU this is an operation opaque to the compiler, which would otherwise fuse it into every loop that
    reads the result: strided reads of the interleaved channels vectorise badly or not at all.
    """
    if x.device.type == "cpu":
        result: Tensor = _copied(x)
        return result
    return x.transpose(-1, -2).float()


@torch.library.custom_op("clwm::channels_first", mutates_args=())
def _copied(x: Tensor) -> Tensor:
    return x.transpose(-1, -2).to(torch.float32, memory_format=torch.contiguous_format, copy=True)


@_copied.register_fake
def _(x: Tensor) -> Tensor:
    *rest, dimensions, channels = x.shape
    return x.new_empty(*rest, channels, dimensions, dtype=torch.float32)
