"""CrossQ's networks: batch renormalisation (Ioffe 2017) before every linear map, differentiated by hand.

Several networks of one shape are computed together, and arrays are [networks, features, batch], so that a
feature's batch is contiguous. With std = sqrt(unbiased variance + ``eps``), normalisation, gain and shift of
a feature x are one affine map, a x + c, where

    a = scale r / std,  c = shift + scale d - a mean                  (training, r and d as in the paper)
    a = scale / running std,  c = shift - a running mean              (otherwise)

and a layer is W (a x + c) + b, computed as (W a) x + (b + W c). So normalised batches are never in memory,
and all sums over the batch that the gradients need follow from the small matrix g x^T, g being the output's
gradient. Nothing here uses autograd, changes an argument, or depends on the values of a tensor: the same
functions run as they are or compiled.

Beyond its warm-up, sb3-contrib's batch renormalisation corrects the batch variance before it adds ``eps``;
here, as in the paper, std = sqrt(variance + ``eps``) there, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Renormalisation:
    """Constants of batch renormalisation.

    Attributes:
        eps: added to variances.
        momentum: of the running statistics.
        rmax: largest r; 1 / rmax is the smallest.
        dmax: largest absolute d.
        warmup: batches for which r is 1 and d is 0.
    """

    eps: float
    momentum: float
    rmax: float
    dmax: float
    warmup: int


@dataclass(frozen=True)
class Layer:
    """Batch renormalisation and a linear map, of C networks.

    Attributes:
        constants: of the renormalisation.
        weight: [C, outputs, inputs].
        bias: [C, outputs].
        scale: [C, inputs].
        shift: [C, inputs].
        mean: [C, inputs] running mean.
        var: [C, inputs] running variance.
        batches: [C, 1] batches that the running statistics have seen.
    """

    constants: Renormalisation
    weight: Tensor
    bias: Tensor
    scale: Tensor
    shift: Tensor
    mean: Tensor
    var: Tensor
    batches: Tensor

    def fixed(self) -> tuple[Tensor, Tensor]:
        """a and c [C, inputs] by the running statistics."""
        a = self.scale / (self.var + self.constants.eps).sqrt()
        return a, self.shift - a * self.mean


@dataclass(frozen=True)
class Batch:
    """What one batch makes of a layer's inputs [C or 1, inputs, B].

    Attributes:
        mean: [C or 1, inputs].
        var: [C or 1, inputs], unbiased.
        std: [C or 1, inputs] sqrt(var + eps).
        r: [C, inputs].
        d: [C, inputs].
    """

    mean: Tensor
    var: Tensor
    std: Tensor
    r: Tensor
    d: Tensor

    @classmethod
    def of(cls, x: Tensor, layer: Layer) -> Batch:
        """The statistics of inputs x [C or 1, inputs, B]."""
        constants = layer.constants
        mean = x.mean(2)
        var = torch.linalg.vector_norm(x - mean.unsqueeze(2), dim=2).square() / (x.shape[2] - 1)
        std, running = (var + constants.eps).sqrt(), (layer.var + constants.eps).sqrt()
        beyond = layer.batches > constants.warmup
        r = torch.where(beyond, (std / running).clamp(1 / constants.rmax, constants.rmax), 1.0)
        d = torch.where(beyond, ((mean - layer.mean) / running).clamp(-constants.dmax, constants.dmax), 0.0)
        return cls(mean, var, std, r, d)

    def running(self, layer: Layer) -> tuple[Tensor, Tensor]:
        """The layer's running mean and variance [C, inputs] after this batch."""
        momentum = layer.constants.momentum
        return layer.mean.lerp(self.mean, momentum), layer.var.lerp(self.var, momentum)


@dataclass(frozen=True)
class Pass:
    """A forward pass through a layer, for the backward pass.

    Attributes:
        layer: the layer.
        x: [C or 1, inputs, B] its inputs.
        folded: [C, outputs, inputs] W a.
        a: [C, inputs].
        c: [C, inputs].
        batch: the inputs' statistics; ``None``: the running ones were used.
    """

    layer: Layer
    x: Tensor
    folded: Tensor
    a: Tensor
    c: Tensor
    batch: Batch | None


def forward(layers: Sequence[Layer], x: Tensor, *, training: bool) -> tuple[Tensor, list[Pass]]:
    """Outputs [C, outputs, B] for x [1, inputs, B]; a ReLU follows every layer but the last.

    Args:
        layers: the layers.
        x: the inputs.
        training: with the statistics of the batch instead of the running ones.

    Returns:
        the outputs, and a pass for each layer.
    """
    passes: list[Pass] = []
    for number, layer in enumerate(layers):
        batch = None
        if training:
            batch = Batch.of(x, layer)
            a = layer.scale * batch.r / batch.std
            c = layer.shift + layer.scale * batch.d - a * batch.mean
        else:
            a, c = layer.fixed()
        folded = layer.weight * a.unsqueeze(1)
        passes.append(Pass(layer, x, folded, a, c, batch))
        offset = layer.bias + (layer.weight * c.unsqueeze(1)).sum(2)
        x = product(folded, x).add_(offset.unsqueeze(2))
        if number < len(layers) - 1:
            x.relu_()
    return x, passes


def input_gradient(passes: Sequence[Pass], gradient: Tensor) -> Tensor:
    """Gradient of the inputs [C, inputs, B] by that of the outputs, after a pass that did not train."""
    for number in reversed(range(len(passes))):
        gradient = product(passes[number].folded.transpose(1, 2), gradient)
        if number > 0:
            gradient = through_relu(gradient, passes[number].x)
    return gradient


def backward(passes: Sequence[Pass], gradient: Tensor) -> list[Tensor]:
    """Gradients of all parameters by that of the outputs [C, outputs, B], after a pass that trained.

    Returns:
        those of weight, bias, scale and shift of the first layer, then of the second, and so on.
    """
    gradients: list[Tensor] = []
    for number in reversed(range(len(passes))):
        step = passes[number]
        layer, x, batch = step.layer, step.x, step.batch
        assert batch is not None, "the pass did not train"
        count = x.shape[2]
        of_bias = gradient.sum(2)
        joint = product(gradient, x.transpose(1, 2))
        of_shift = (layer.weight * of_bias.unsqueeze(2)).sum(1)
        along = ((layer.weight * joint).sum(1) - batch.mean * of_shift) / batch.std
        of_weight = joint * step.a.unsqueeze(1) + of_bias.unsqueeze(2) * step.c.unsqueeze(1)
        gradients = [of_weight, of_bias, batch.r * along + batch.d * of_shift, of_shift, *gradients]
        if number > 0:
            by_x = -step.a * along / (batch.std * (count - 1))  # x moves the batch's deviation and mean
            constant = -step.a * of_shift / count - by_x * batch.mean
            of_x = product(step.folded.transpose(1, 2), gradient)
            of_x.add_(constant.unsqueeze(2)).addcmul_(by_x.unsqueeze(2), x)
            gradient = through_relu(of_x, x)
    return gradients


def through_relu(gradient: Tensor, output: Tensor) -> Tensor:
    """Gradient of a ReLU's input by that of its output."""
    through: Tensor = torch.ops.aten.threshold_backward(gradient, output, 0.0)
    return through


def product(one: Tensor, other: Tensor) -> Tensor:
    """Products of matrices [C, n, k] and [C or 1, k, m].

    With one row, or a k of 1, they are sums and products that a compiler can join with what comes next.
    """
    if one.shape[2] == 1:
        return one * other
    if one.shape[1] == 1:
        return (one.transpose(1, 2) * other).sum(1, keepdim=True)
    return torch.bmm(one, other.expand(len(one), -1, -1))
