"""Copies that a compiled graph makes once, rather than in every loop that reads the result."""

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


def repeated(x: Tensor, times: int) -> Tensor:
    """[C] -> [times * C], for compiled graphs.

    On CPU this, too, is opaque to the compiler, which would otherwise compute each element's index into x by
    a division, in every loop, and vectorise none of them.
    """
    if x.device.type == "cpu":
        result: Tensor = _repeated(x, times)
        return result
    return x.repeat(times)


@torch.library.custom_op("clwm::repeated", mutates_args=())
def _repeated(x: Tensor, times: int) -> Tensor:
    return x.repeat(times)


@_repeated.register_fake
def _(x: Tensor, times: int) -> Tensor:
    return x.new_empty(len(x) * times)
