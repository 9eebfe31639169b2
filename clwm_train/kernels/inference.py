"""Networks that only act: on CPU NumPy's exponential takes half as long as torch's, its tanh a sixth.

Used in ``torch.inference_mode``: nothing is kept for a gradient, and arrays that are no longer needed are
overwritten. Training computes the same functions by other operations; results agree up to rounding.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from clwm_train.kernels.norm_mish import EPSILON, LINEAR_FROM

#: Entries of the widest layer that are computed at once: a few such arrays fit a core's level-2 cache.
PIECE = 1 << 16

#: Weight [M, inputs, outputs] and bias [M, 1, outputs] of each linear map.
Maps = Sequence[tuple[Tensor, Tensor]]
#: Gain and bias [M, 1, size] of each layer normalisation.
Norms = Sequence[tuple[Tensor, Tensor]]


def only_acts(x: Tensor) -> bool:
    """Whether what is computed from x is neither differentiated nor compiled, nor on a GPU."""
    return not torch.compiler.is_compiling() and torch.is_inference_mode_enabled() and x.device.type == "cpu"


def perceptron(x: Tensor, maps: Maps, norms: Norms) -> Tensor:
    """Hidden layers Linear -> LayerNorm -> Mish (without ``norms`` Linear -> ReLU), then a linear map.

    Args:
        x: [S, N, inputs]; M / S members that lie side by side share an input.
        maps: those of the hidden layers, and the last.
        norms: one per hidden layer, or none.

    Returns:
        [M, N, outputs].
    """
    x = x.to(maps[0][0].dtype)
    members, _, outputs = maps[-1][0].shape
    rows = max(1, PIECE // max(weight.shape[-1] for weight, _ in maps))
    if members == 1 and x.shape[1] <= rows:
        return _piece(x, maps, norms)
    y = x.new_empty(members, x.shape[1], outputs)
    of_members = zip(_by_member(maps, members), _by_member(norms, members), strict=True)
    for member, (own_maps, own_norms) in enumerate(of_members):
        source = member * len(x) // members
        for first in range(0, x.shape[1], rows):
            piece = slice(first, first + rows)
            y[member : member + 1, piece] = _piece(x[source : source + 1, piece], own_maps, own_norms)
    return y


def quantised(x: Tensor, shift: Tensor, half_range: Tensor, offset: Tensor, half_width: Tensor) -> Tensor:
    """round(tanh(x + shift) * half_range - offset) / half_width of x [N, size], constants [size]."""
    y: NDArray[np.float32] = np.add(x.numpy(), shift.numpy())
    with np.errstate(all="ignore"):
        np.tanh(y, out=y)
        y *= half_range.numpy()
        y -= offset.numpy()
        np.rint(y, out=y)
        y /= half_width.numpy()
    return torch.from_numpy(y)


def _by_member(parameters: Maps, members: int) -> Iterator[Maps]:
    """The same with M = 1, for each member."""
    if not parameters:
        yield from [()] * members
        return
    for member in range(members):
        yield [(first[member : member + 1], second[member : member + 1]) for first, second in parameters]


def _piece(x: Tensor, maps: Maps, norms: Norms) -> Tensor:
    """:func:`perceptron` of one member: [1, N, inputs] -> [1, N, outputs]."""
    for index, (weight, bias) in enumerate(maps[:-1]):
        x = torch.baddbmm(bias, x, weight)
        if norms:
            gain, shift = norms[index]
            size = gain.shape[-1:]
            h, _, _ = torch.native_layer_norm(x, size, gain.view(size), shift.view(size), EPSILON)
            x = _mish_(h, scratch=x)
        else:
            x.relu_()
    weight, bias = maps[-1]
    return torch.baddbmm(bias, x, weight)


def _mish_(h: Tensor, scratch: Tensor) -> Tensor:
    """Mish in place: h n / (n + 2) with e = exp(h), n = (e + 2) e; ``scratch`` is of the same shape."""
    torch.clamp(h, max=LINEAR_FROM, out=scratch)
    y, e = h.numpy(), scratch.numpy()
    with np.errstate(all="ignore"):
        np.exp(e, out=e)
        n = e + 2.0
        n *= e
        np.add(n, 2.0, out=e)
        n /= e
        y *= n
    return h
