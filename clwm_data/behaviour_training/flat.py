"""Tensors of sb3-contrib's learner as views of a few flat arrays, which the updates work on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from sb3_contrib.common.torch_layers import BatchRenorm1d
from torch import Tensor, nn

from clwm_data.behaviour_training.renormalised import Layer, Renormalisation


class Flat:
    """Tensors that become views of one array, one after another.

    Args:
        tensors: what is kept where it is now found; only their data is replaced.

    Attributes:
        values: [sum of the sizes] the array.
    """

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        self.values = torch.cat([tensor.data.reshape(-1) for tensor in tensors])
        parts = torch.split(self.values, [tensor.numel() for tensor in tensors])
        self._views: list[tuple[Tensor, int]] = []
        for tensor, part in zip(tensors, parts, strict=True):
            tensor.data = part.view(tensor.shape)
            self._views.append((tensor, tensor.data_ptr()))

    def intact(self) -> bool:
        """Whether the tensors still are views of the array."""
        return all(tensor.data_ptr() == address for tensor, address in self._views)


class Moments(NamedTuple):
    """Parameters and the moments of their gradients [P]."""

    parameters: Tensor
    first: Tensor
    second: Tensor


class Adam:
    """Parameters of one of torch's optimisers, and its state, as flat arrays.

    The update is :func:`clwm_data.behaviour_training.updates.adam`; parameters and state stay those of the
    optimiser.

    Args:
        optimiser: Adam.
        parameters: all of its parameters, in the order of the arrays.

    Attributes:
        betas: of the optimiser.
        eps: of the optimiser.
        arrays: what is updated.

    Raises:
        ValueError: other parameters, several groups, or options that :func:`adam` does not have.
    """

    def __init__(self, optimiser: torch.optim.Optimizer, parameters: Sequence[Tensor]) -> None:
        (group,) = optimiser.param_groups
        if {id(each) for each in parameters} != {id(each) for each in group["params"]}:
            raise ValueError("the optimiser has other parameters")
        if group["weight_decay"] or group["amsgrad"] or group["maximize"]:
            raise ValueError("only Adam without weight decay, amsgrad and maximize is supported")
        self.betas, self.eps = group["betas"], group["eps"]
        self._optimiser, self._parameters = optimiser, parameters
        for each in parameters:
            if not optimiser.state[each]:
                moments = {name: torch.zeros_like(each.data) for name in ("exp_avg", "exp_avg_sq")}
                optimiser.state[each] = {"step": torch.zeros(()), **moments}
        self._states = [optimiser.state[each] for each in parameters]
        self._steps, first, second = (
            Flat([state[name] for state in self._states]) for name in ("step", "exp_avg", "exp_avg_sq")
        )
        if (self._steps.values != self._steps.values[0]).any():
            raise ValueError("some parameters had more updates than others")
        values = Flat(parameters)
        self._flats = values, self._steps, first, second
        self.arrays = Moments(values.values, first.values, second.values)

    def intact(self) -> bool:
        """Whether parameters and state still are views of the arrays."""
        state = self._optimiser.state
        same = all(state[each] is kept for each, kept in zip(self._parameters, self._states, strict=True))
        return same and all(flat.intact() for flat in self._flats)

    def rates(self) -> Tensor:
        """Count an update.

        Returns:
            [2] the learning rate over the first moment's bias correction, and one over the root of the
            second's (Kingma and Ba 2015, the order of computation before section 2.1).
        """
        self._steps.values += 1
        steps = float(self._steps.values[0])
        first, second = (1.0 - beta**steps for beta in self.betas)
        rate = self._optimiser.param_groups[0]["lr"]
        return torch.tensor([rate / first, second**-0.5], dtype=self.arrays.parameters.dtype)


class Statistics(NamedTuple):
    """Running statistics of networks, and how many batches they saw."""

    moments: Tensor
    batches: Tensor


class Network:
    """C networks of sb3-contrib of one shape, as flat arrays; the modules' tensors become views of them.

    Args:
        copies: of each network its normalisations, linear maps and ReLUs.
        optimiser: of the networks.
        heads: linear maps that follow the last normalisation of a single network; their outputs are joined.

    Attributes:
        adam: parameters and the optimiser's state.
        statistics: running ones.

    Raises:
        TypeError: another kind of layer.
        ValueError: of :class:`Adam`.
    """

    def __init__(
        self,
        copies: Sequence[nn.Module],
        optimiser: torch.optim.Optimizer,
        heads: Sequence[nn.Linear] = (),
    ) -> None:
        norms, maps = _layers(copies, heads)
        parameters: list[Tensor] = []
        moments: list[Tensor] = []
        for beside, linears in zip(norms, maps, strict=True):
            for name in ("weight", "bias"):
                parameters += [getattr(linear, name) for joined in linears for linear in joined]
            for name in ("scale", "bias"):
                parameters += [getattr(norm, name) for norm in beside]
            for name in ("ra_mean", "ra_var"):
                moments += [getattr(norm, name) for norm in beside]
        self.adam = Adam(optimiser, parameters)
        self._flats = Flat(moments), Flat([norm.steps for beside in norms for norm in beside])
        self.statistics = Statistics(*(flat.values for flat in self._flats))
        first = norms[0][0]
        self._constants = Renormalisation(
            first.eps, first.momentum, first.rmax, first.dmax, int(first.warmup_steps)
        )
        self._copies = len(copies)
        self._sizes = [
            (linears[0][0].in_features, sum(linear.out_features for linear in linears[0])) for linears in maps
        ]

    def intact(self) -> bool:
        """Whether modules and optimiser still share their tensors with this network."""
        return self.adam.intact() and all(flat.intact() for flat in self._flats)

    def layers(self, parameters: Tensor, statistics: Statistics) -> list[Layer]:
        """The layers as views of arrays in the order of :attr:`adam` and :attr:`statistics`."""
        layers: list[Layer] = []
        at = seen = 0

        def view(array: Tensor, start: int, *shape: int) -> Tensor:
            size = self._copies
            for length in shape:
                size *= length
            return array[start : start + size].view(self._copies, *shape)

        for number, (inputs, outputs) in enumerate(self._sizes):
            values = []
            for shape in ((outputs, inputs), (outputs,), (inputs,), (inputs,)):
                values.append(view(parameters, at, *shape))
                at += values[-1].numel()
            for _ in range(2):
                values.append(view(statistics.moments, seen, inputs))
                seen += values[-1].numel()
            values.append(view(statistics.batches, number * self._copies, 1))
            layers.append(Layer(self._constants, *values))
        return layers


def _layers(
    copies: Sequence[nn.Module], heads: Sequence[nn.Linear]
) -> tuple[list[list[Any]], list[list[Sequence[nn.Linear]]]]:
    """For each layer, the normalisation and the joined linear maps of every network."""
    norms: list[list[Any]] = []
    maps: list[list[Sequence[nn.Linear]]] = []
    for modules in zip(*(copy.children() for copy in copies), strict=True):
        kind = modules[0]
        if isinstance(kind, BatchRenorm1d):
            norms.append([*modules])
        elif isinstance(kind, nn.Linear):
            maps.append([[module] for module in modules])
        elif not isinstance(kind, nn.ReLU):
            raise TypeError(f"a layer {type(kind).__name__} is not supported")
    if heads:
        maps.append([heads])
    return norms, maps
