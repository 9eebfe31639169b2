"""CrossQ's networks, batch renormalisation (Ioffe 2017) before every linear map, differentiated by hand.

Several networks of one shape are computed together, and arrays are [networks, features, batch], so that
PyTorch's layer normalisation, which makes one pass over the data, normalises each feature over the batch:
n = (x - mean) / sqrt(biased variance + eps'). A layer is W (gain n + shift) + b, computed as
(W gain) n + (b + W shift); all sums over the batch that the gradients of gain, shift and W need follow from
the small matrix g n^T, g being the output's gradient.

Beyond its warm-up, sb3-contrib's batch renormalisation corrects the batch variance before it adds ``eps``;
here, as in the paper, r = std / running std and d = (mean - running mean) / running std with
std = sqrt(variance + ``eps``), and outputs are r (x - mean) / std + d.
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

    The parameters and running statistics of the modules become views of arrays that hold those of all
    networks.

    Args:
        norms: the normalisation of each of C networks.
        linears: for each network, maps of the same input; their outputs are joined.
        relu: whether a ReLU follows.
    """

    _kept: tuple[Tensor, ...]
    _moments: tuple[Tensor, ...]

    def __init__(self, norms: Sequence[Any], linears: Sequence[Sequence[nn.Linear]], *, relu: bool) -> None:
        self._norm, self._relu = norms[0], relu
        self._weight, self._bias = (
            _Stack([[getattr(linear, name) for linear in maps] for maps in linears])
            for name in ("weight", "bias")
        )
        self._scale, self._shift, self._mean, self._var, self._steps = (
            _Stack([[getattr(norm, name)] for norm in norms])
            for name in ("scale", "bias", "ra_mean", "ra_var", "steps")
        )
        self._stacks = (
            self._weight,
            self._bias,
            self._scale,
            self._shift,
            self._mean,
            self._var,
            self._steps,
        )

    def intact(self) -> bool:
        """Whether the modules still share their tensors with this layer."""
        return all(stack.intact() for stack in self._stacks)

    def forward(self, x: Tensor, *, training: bool) -> Tensor:
        """x [C or 1, inputs, B] -> [C, outputs, B]; training uses batch statistics and updates the running
        ones."""
        weight, normal = self._weight.values, x
        if training:
            normal, gain, shift = self._normalised(x)
        else:
            gain = self._scale.values / (self._var.values + self._norm.eps).sqrt_()
            shift = torch.addcmul(self._shift.values, gain, self._mean.values, value=-1.0)
        folded = weight * gain.unsqueeze(1)
        offset = torch.bmm(shift.unsqueeze(1), weight.transpose(1, 2)).squeeze(1).add_(self._bias.values)
        normal = normal.expand(len(folded), -1, -1)
        y = torch.baddbmm(offset.unsqueeze(2), folded, normal)
        if self._relu:
            y.clamp_(min=0.0)
        self._kept = x, normal, gain, shift, folded, y
        return y

    def _normalised(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The normalised batch, and its gain and shift [C, inputs]; the running statistics are updated."""
        norm, count = self._norm, x.shape[2]
        running_mean, running_var = self._mean.values, self._var.values
        share = (count - 1) / count  # of the variance over n - 1 in the biased one
        normal, mean, inverse = torch.native_layer_norm(x, [count], None, None, norm.eps * share)
        mean, std = mean.squeeze(2), (share**0.5 * inverse.squeeze(2)).reciprocal_()
        r, d = torch.full_like(std, share**0.5), torch.zeros_like(std)
        if self._steps.values[0] > norm.warmup_steps:
            running_std = (running_var + norm.eps).sqrt_()
            r = (std / running_std).clamp_(1 / norm.rmax, norm.rmax).mul_(share**0.5)
            d = ((mean - running_mean) / running_std).clamp_(-norm.dmax, norm.dmax)
        running_mean.lerp_(mean, norm.momentum)
        running_var.lerp_(std.square_().sub_(norm.eps), norm.momentum)
        self._steps.values += 1
        self._moments = mean, inverse, r, d
        scale = self._scale.values
        return normal, scale * r, torch.addcmul(self._shift.values, scale, d)

    def input_gradient(self, gradient: Tensor) -> Tensor:
        """Gradient of the input [C, inputs, B] after a forward pass that did not train."""
        return torch.bmm(self._kept[4].transpose(1, 2), self._before_relu(gradient))

    def backward(self, gradient: Tensor, *, first: bool) -> Tensor:
        """Set the parameters' gradients after a forward pass that trained.

        Args:
            gradient: of the output [C, outputs, B].
            first: the input's gradient is not needed.

        Returns:
            the gradient of the input [C, inputs, B]; empty for the first layer.
        """
        x, normal, gain, shift, folded, _ = self._kept
        mean, inverse, r, d = self._moments
        weight, summed, total = self._weight.values, self._bias.gradients, self._shift.gradients
        gradient = self._before_relu(gradient)
        torch.sum(gradient, 2, out=summed)
        torch.bmm(summed.unsqueeze(1), weight, out=total.unsqueeze(1))
        joint = torch.bmm(gradient, normal.transpose(1, 2))
        along = (weight * joint).sum(1)
        torch.addcmul(along.mul_(r), total, d, out=self._scale.gradients)
        torch.addcmul(
            joint.mul_(gain.unsqueeze(1)),
            summed.unsqueeze(2),
            shift.unsqueeze(1),
            out=self._weight.gradients,
        )
        if first:
            return gradient.new_empty(0)
        of_normal = torch.bmm(folded.transpose(1, 2), gradient)
        inputs: Tensor = torch.ops.aten.native_layer_norm_backward(
            of_normal, x, x.shape[2:], mean.unsqueeze(2), inverse, None, None, [True, False, False]
        )[0]
        return inputs

    def _before_relu(self, gradient: Tensor) -> Tensor:
        if not self._relu:
            return gradient
        through: Tensor = torch.ops.aten.threshold_backward(gradient, self._kept[5], 0.0)
        return through


class _Stack:
    """Parameters or buffers of several networks, which become views of one array, as do their gradients.

    Args:
        rows: for each network, tensors that are joined along their first axis.

    Attributes:
        values: [C, ...].
        gradients: the same shape.
    """

    def __init__(self, rows: Sequence[Sequence[Tensor]]) -> None:
        self.values = torch.stack([torch.cat([_vector(each) for each in row]) for row in rows])
        self.gradients = torch.zeros_like(self.values)
        self._views: list[tuple[Tensor, int, Tensor | None]] = []
        for row, values, gradients in zip(rows, self.values, self.gradients, strict=True):
            sizes = [len(_vector(each)) for each in row]
            views = zip(torch.split(values, sizes), torch.split(gradients, sizes), strict=True)
            for each, (value, gradient) in zip(row, views, strict=True):
                each.data = value.view(each.shape)
                if each.requires_grad:
                    each.grad = gradient.view(each.shape)
                self._views.append((each, value.data_ptr(), each.grad))

    def intact(self) -> bool:
        """Whether the tensors still are views of this."""
        return all(
            each.data_ptr() == address and each.grad is gradient for each, address, gradient in self._views
        )


def _vector(tensor: Tensor) -> Tensor:
    """The data of a tensor, with an axis of length 1 if it has none."""
    return tensor.data.reshape(-1, *tensor.shape[1:])


class Network:
    """Layers after one another."""

    def __init__(self, layers: Sequence[Layer]) -> None:
        self._layers = layers

    def intact(self) -> bool:
        """Whether the modules still share their tensors with this network."""
        return all(layer.intact() for layer in self._layers)

    def forward(self, x: Tensor, *, training: bool) -> Tensor:
        """x [B, inputs] -> [C, outputs, B]; see :meth:`Layer.forward`."""
        x = x.t().contiguous().unsqueeze(0)
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


def network_of(copies: Sequence[nn.Module], heads: Sequence[nn.Linear] = ()) -> Network:
    """C networks of sb3-contrib of one shape, whose parameters and statistics it shares.

    Args:
        copies: of each network its normalisations, linear maps and ReLUs.
        heads: linear maps that follow the last normalisation of a single network.

    Raises:
        TypeError: another kind of layer.
    """
    norms: list[list[Any]] = []
    linears: list[list[Sequence[nn.Linear]]] = []
    for modules in zip(*(copy.children() for copy in copies), strict=True):
        kind = modules[0]
        if isinstance(kind, BatchRenorm1d):
            norms.append([*modules])
        elif isinstance(kind, nn.Linear):
            linears.append([[module] for module in modules])
        elif not isinstance(kind, nn.ReLU):
            raise TypeError(f"a layer {type(kind).__name__} is not supported")
    if heads:
        linears.append([heads])
    pairs = list(zip(norms, linears, strict=True))
    return Network(
        [
            Layer(of_copies, maps, relu=number < len(pairs) - 1)
            for number, (of_copies, maps) in enumerate(pairs)
        ]
    )


def actor_network(actor: Actor) -> Network:
    """Outputs mean and log standard deviation, joined."""
    heads: list[Any] = [actor.mu, actor.log_std]
    return network_of([actor.latent_pi], heads)
