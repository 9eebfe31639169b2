"""LayerNorm -> Mish (Misra 2019: x tanh(softplus(x))) in one operation."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from clwm_train.kernels.chunked import member_pieces

#: Beyond this Mish is the identity in single precision, and exp would overflow.
LINEAR_FROM = 20.0
EPSILON = 1e-5


def norm_mish(x: Tensor, gain: Tensor, bias: Tensor) -> Tensor:
    """Mish of the layer normalisation of x [M, N, size], with gain and bias [M, 1, size] per member."""
    if x.device.type == "cpu":
        if not torch.is_grad_enabled():
            return _without_gradient(x, gain, bias)
        y: Tensor = _NormMish.apply(x, gain, bias)  # type: ignore[no-untyped-call]
        return y
    size = x.shape[-1:]
    if len(x) == 1:
        return functional.mish(functional.layer_norm(x, size, gain.view(size), bias.view(size), EPSILON))
    return functional.mish(torch.addcmul(bias, functional.layer_norm(x, size, eps=EPSILON), gain))


def norm_mish_graph(x: Tensor, shift: Tensor, gain: Tensor, bias: Tensor) -> Tensor:
    """:func:`norm_mish` of x + shift, shift [M, 1, size], in a form that torch.compile fuses.

    A bfloat16 x gives a bfloat16 result; sums are in single precision.
    """
    y: Tensor = _NormMishGraph.apply(x, shift, gain, bias)  # type: ignore[no-untyped-call]
    return y


class _NormMish(torch.autograd.Function):
    """On CPU in pieces that fit the cache; Mish in a form with one exponential.

    With e = exp(h), n = e^2 + 2 e: Mish is h n / (n + 2), its derivative
    n / (n + 2) + 4 h e (1 + e) / (n + 2)^2.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, gain: Tensor, bias: Tensor) -> Tensor:
        y, derivative = torch.empty_like(x), torch.empty_like(x)
        moments = []
        for piece in member_pieces(x):
            member = piece[0]
            h, mean, deviation = _normalised(x[piece], gain[member], bias[member])
            e, below, ratio = _ratio(h)
            moments.append((mean, deviation))
            slope = e.addcmul_(e, e).mul_(4.0).mul_(h).div_(below.square_())
            torch.add(slope, ratio, out=derivative[piece])
            torch.mul(ratio, h, out=y[piece])
        ctx.save_for_backward(x, gain, bias, derivative)
        ctx.moments = moments
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x, gain, bias, derivative = ctx.saved_tensors
        x_gradient, gain_gradient, bias_gradient = (
            torch.empty_like(x),
            torch.zeros_like(gain),
            torch.zeros_like(bias),
        )
        for piece, (mean, deviation) in zip(member_pieces(x), ctx.moments, strict=True):
            member = piece[0]
            gradient = torch.ops.aten.native_layer_norm_backward(
                gradients[0][piece] * derivative[piece],
                x[piece],
                x.shape[-1:],
                mean,
                deviation,
                gain[member, 0],
                bias[member, 0],
                [True, True, True],
            )
            x_gradient[piece] = gradient[0]
            gain_gradient[member, 0] += gradient[1]
            bias_gradient[member, 0] += gradient[2]
        return x_gradient, gain_gradient, bias_gradient


def _without_gradient(x: Tensor, gain: Tensor, bias: Tensor) -> Tensor:
    """The same numbers as :class:`_NormMish`, with nothing kept: acting makes many small calls."""
    pieces = list(member_pieces(x))
    if len(pieces) == 1:
        h, _, _ = _normalised(x[0], gain[0], bias[0])
        return _ratio(h)[2].mul_(h).unsqueeze(0)
    y = torch.empty_like(x)
    for piece in pieces:
        h, _, _ = _normalised(x[piece], gain[piece[0]], bias[piece[0]])
        torch.mul(_ratio(h)[2], h, out=y[piece])
    return y


def _normalised(x: Tensor, gain: Tensor, bias: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Layer normalisation of x [N, size] with gain and bias [1, size]; mean and 1 / deviation of its rows."""
    return torch.native_layer_norm(x, x.shape[-1:], gain[0], bias[0], EPSILON)


def _ratio(h: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """e, n + 2 and n / (n + 2)."""
    e = h.clamp(max=LINEAR_FROM).exp_()
    n = torch.addcmul(e, e, e).add_(e)
    below = n + 2.0
    return e, below, n.div_(below)


class _NormMishGraph(torch.autograd.Function):
    """The backward pass recomputes Mish from x and its two moments."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, shift: Tensor, gain: Tensor, bias: Tensor) -> Tensor:
        y, mean, scale = _forward(x, shift, gain, bias)
        ctx.save_for_backward(x, shift, mean, scale, gain, bias)
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        x, shift, mean, scale, gain, bias = ctx.saved_tensors
        h_gradient, x_gradient = _input_gradient(gradients[0], x, shift, mean, scale, gain, bias)
        return x_gradient, *_parameter_gradient(h_gradient, x_gradient, x, shift, mean, scale)


def _forward(x: Tensor, shift: Tensor, gain: Tensor, bias: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The result, and mean and 1 / deviation of each row of x + shift."""
    shifted = x.float() + shift
    mean = shifted.mean(-1, keepdim=True)
    centred = shifted - mean
    scale = torch.rsqrt(centred.square().mean(-1, keepdim=True) + EPSILON)
    h = centred * scale * gain + bias
    _, above, below = _quotient(h)
    return (h * (above / below)).to(x.dtype), mean, scale


def _input_gradient(
    y_gradient: Tensor, x: Tensor, shift: Tensor, mean: Tensor, scale: Tensor, gain: Tensor, bias: Tensor
) -> tuple[Tensor, Tensor]:
    """Gradients of the normalised, affinely mapped x and of x itself."""
    normal = (x.float() + shift - mean) * scale
    h = normal * gain + bias
    e, above, below = _quotient(h)
    inverse = 1.0 / below
    bend = 4.0 * h * e * torch.where(h > 0.0, e * (1.0 + e), 1.0 + e) * inverse
    h_gradient = y_gradient.float() * inverse * (above + bend)
    normal_gradient = h_gradient * gain
    along = (normal_gradient * normal).mean(-1, keepdim=True)
    x_gradient = (normal_gradient - normal_gradient.mean(-1, keepdim=True) - normal * along) * scale
    return h_gradient, x_gradient.to(x.dtype)


def _parameter_gradient(
    h_gradient: Tensor, x_gradient: Tensor, x: Tensor, shift: Tensor, mean: Tensor, scale: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of shift, gain and bias."""
    normal = (x.float() + shift - mean) * scale
    return (
        x_gradient.float().sum(1, keepdim=True),
        (h_gradient * normal).sum(1, keepdim=True),
        h_gradient.sum(1, keepdim=True),
    )


def _quotient(h: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """e = exp(-|h|), and tanh(softplus(h)) as a quotient of polynomials in it, which cannot overflow."""
    e = torch.exp(-h.abs())
    square = e * e
    above = torch.where(h > 0.0, 1.0 + 2.0 * e, square + 2.0 * e)
    return e, above, above + torch.where(h > 0.0, 2.0 * square, 2.0)
