"""CrossQ's networks, batch renormalisation (Ioffe 2017) before every linear map, differentiated by hand.

With centred inputs u = x - mean and per-feature gain and shift, a layer is (gain u + shift) W^T + b. It is
computed as u (gain W)^T + (b + W shift): the normalised inputs are never written to memory, and all sums over
the batch that the backward pass needs follow from the small matrix g^T u, g being the output's gradient.

Beyond its warm-up, sb3-contrib's batch renormalisation corrects the batch variance before it adds ``eps``;
here, as in the paper, r = std / running std and d = (mean - running mean) / running std with
std = sqrt(variance + ``eps``), and outputs are r u / std + d.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from sb3_contrib.common.torch_layers import BatchRenorm1d
from sb3_contrib.crossq.policies import Actor
from torch import Tensor, nn


class Layer:
    """Batch renormalisation, linear maps side by side, and a ReLU in hidden layers. Used without autograd.

    Args:
        norm: the normalisation.
        linears: maps of the same input; their outputs are joined.
        relu: whether a ReLU follows.
    """

    _kept: tuple[Tensor, ...]
    _moments: tuple[Tensor, ...]

    def __init__(self, norm: Any, linears: Sequence[nn.Linear], *, relu: bool) -> None:
        self._norm, self._linears, self._relu = norm, linears, relu
        self._sizes = [linear.out_features for linear in linears]

    def forward(self, x: Tensor, *, training: bool) -> Tensor:
        """x [B, inputs] -> [B, outputs]; training uses batch statistics and updates the running ones."""
        norm = self._norm
        weight, bias = self._joined("weight"), self._joined("bias")
        if training:
            centred, std, r, d = self._statistics(x)
            gain, shift = norm.scale * r / std, torch.addcmul(norm.bias, norm.scale, d)
            self._moments = std, r, d
        else:
            gain = norm.scale / (norm.ra_var + norm.eps).sqrt()
            centred, shift = x, torch.addcmul(norm.bias, gain, norm.ra_mean, value=-1.0)
        folded = weight * gain
        y = torch.addmm(torch.addmv(bias, weight, shift), centred, folded.t())
        if self._relu:
            y.clamp_(min=0.0)
        self._kept = centred, weight, gain, shift, folded, y
        return y

    def _joined(self, name: str) -> Tensor:
        parts = [getattr(linear, name) for linear in self._linears]
        return torch.cat(parts) if len(parts) > 1 else parts[0]

    def _statistics(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Centred x, its standard deviations, and the corrections r and d towards the running statistics."""
        norm = self._norm
        mean = x.mean(0)
        centred = x - mean
        var = centred.square().sum(0).div_(len(x) - 1)
        std = (var + norm.eps).sqrt_()
        r, d = torch.ones_like(std), torch.zeros_like(std)
        if norm.steps > norm.warmup_steps:
            running_std = (norm.ra_var + norm.eps).sqrt_()
            r = (std / running_std).clamp_(1 / norm.rmax, norm.rmax)
            d = ((mean - norm.ra_mean) / running_std).clamp_(-norm.dmax, norm.dmax)
        norm.ra_mean.lerp_(mean, norm.momentum)
        norm.ra_var.lerp_(var, norm.momentum)
        norm.steps += 1
        return centred, std, r, d

    def input_gradient(self, gradient: Tensor) -> Tensor:
        """Gradient of the input [B, inputs] after a forward pass that did not train; parameters get none."""
        return self._before_relu(gradient) @ self._kept[4]

    def backward(self, gradient: Tensor, *, first: bool) -> Tensor:
        """Set the parameters' gradients after a forward pass that trained.

        Args:
            gradient: of the output [B, outputs].
            first: the input's gradient is not needed.

        Returns:
            the gradient of the input [B, inputs]; empty for the first layer.
        """
        centred, weight, gain, shift, folded, _ = self._kept
        std, r, d = self._moments
        gradient = self._before_relu(gradient)
        summed, joint = gradient.sum(0), gradient.t() @ centred
        total, along = summed @ weight, (weight * joint).sum(0)
        weights = torch.split(torch.addr(joint * gain, summed, shift), self._sizes)
        for linear, of_weight, of_bias in zip(
            self._linears, weights, torch.split(summed, self._sizes), strict=True
        ):
            linear.weight.grad, linear.bias.grad = of_weight, of_bias
        self._norm.scale.grad, self._norm.bias.grad = along * r / std + total * d, total
        if first:
            return gradient.new_empty(0)
        count = len(gradient)
        inputs = torch.addmm(total * gain / -count, gradient, folded)
        return inputs.addcmul_(centred, along * gain / (std.square() * (1 - count)))

    def _before_relu(self, gradient: Tensor) -> Tensor:
        if not self._relu:
            return gradient
        through: Tensor = torch.ops.aten.threshold_backward(gradient, self._kept[5], 0.0)
        return through


class Network:
    """Layers after one another."""

    def __init__(self, layers: Sequence[Layer]) -> None:
        self._layers = layers

    def forward(self, x: Tensor, *, training: bool) -> Tensor:
        """See :meth:`Layer.forward`."""
        for layer in self._layers:
            x = layer.forward(x, training=training)
        return x

    def input_gradient(self, gradient: Tensor) -> Tensor:
        """See :meth:`Layer.input_gradient`."""
        for layer in reversed(self._layers):
            gradient = layer.input_gradient(gradient)
        return gradient

    def backward(self, gradient: Tensor) -> None:
        """See :meth:`Layer.backward`."""
        for number in reversed(range(len(self._layers))):
            gradient = self._layers[number].backward(gradient, first=number == 0)


def network_of(modules: nn.Module, heads: Sequence[nn.Linear] = ()) -> Network:
    """The network of a module of sb3-contrib, whose parameters and statistics it shares.

    Args:
        modules: normalisations, linear maps and ReLUs.
        heads: linear maps that follow the last normalisation.

    Raises:
        TypeError: another kind of layer.
    """
    norms: list[Any] = []
    linears: list[Sequence[nn.Linear]] = []
    for module in modules.children():
        if isinstance(module, BatchRenorm1d):
            norms.append(module)
        elif isinstance(module, nn.Linear):
            linears.append([module])
        elif not isinstance(module, nn.ReLU):
            raise TypeError(f"a layer {type(module).__name__} is not supported")
    if heads:
        linears.append(heads)
    pairs = list(zip(norms, linears, strict=True))
    return Network(
        [Layer(norm, maps, relu=number < len(pairs) - 1) for number, (norm, maps) in enumerate(pairs)]
    )


def actor_network(actor: Actor) -> Network:
    """Outputs mean and log standard deviation, joined."""
    heads: list[Any] = [actor.mu, actor.log_std]
    return network_of(actor.latent_pi, heads)
