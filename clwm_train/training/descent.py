"""Steps of Adam without the calls around its kernel.

On a CPU, torch's fused Adam spends most of a step on small networks in Python: groups, hooks, one addition
for the count of each parameter. What is here calls the same kernel with the same tensors, so weights are the
same to the bit; the optimiser keeps its state.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

#: Options of an optimiser with which its own step is taken.
_LEFT_TO_IT = ("amsgrad", "maximize", "capturable", "differentiable")


class _Group(NamedTuple):
    """A parameter group's tensors, in the order of its parameters."""

    options: dict[str, Any]
    parameters: list[nn.Parameter]
    means: list[Tensor]
    squares: list[Tensor]
    counts: list[Tensor]
    #: All counts, which are its elements.
    all_counts: Tensor


class Descent:
    """Steps of an optimiser, by the shortest way that there is for it.

    Args:
        optimiser: ``Adam`` or ``AdamW``, fused; for any other this does what it does.
    """

    def __init__(self, optimiser: torch.optim.Optimizer) -> None:
        self._optimiser = optimiser
        self._kernel: Any = None
        self._parameters = [p for group in optimiser.param_groups for p in group["params"]]
        self._groups: list[_Group] = []
        self._first: object = None

    def clear(self) -> None:
        """Forget the gradients."""
        for parameter in self._parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """A step with the gradients that are there, as the optimiser's ``step`` takes it."""
        gradients = [parameter.grad for parameter in self._parameters]
        # The first step makes the moments; without a gradient a parameter and its count stay as they are.
        if any(gradient is None for gradient in gradients) or not self._gathered():
            self._optimiser.step()
            return
        first = 0
        for options, parameters, means, squares, counts, all_counts in self._groups:
            all_counts.add_(1)
            self._kernel(
                parameters,
                gradients[first : first + len(parameters)],
                means,
                squares,
                [],
                counts,
                lr=options["lr"],
                beta1=options["betas"][0],
                beta2=options["betas"][1],
                weight_decay=options["weight_decay"],
                eps=options["eps"],
                amsgrad=False,
                maximize=False,
            )
            first += len(parameters)

    def _gathered(self) -> bool:
        """Whether kernel and state are at hand. They are sought anew when the first parameter's state is
        another object: a checkpoint replaces the states of all.
        """
        state = self._optimiser.state
        first = state.get(self._parameters[0])
        if first is not None and first is self._first:
            return self._kernel is not None
        if not all(state.get(parameter) for parameter in self._parameters):
            return False
        self._first = first
        self._kernel = _kernel(self._optimiser)
        if self._kernel is None:
            return False
        self._groups = [_group(state, options) for options in self._optimiser.param_groups]
        return True


def _kernel(optimiser: torch.optim.Optimizer) -> Any:
    """The fused kernel of an optimiser; ``None`` where it has none that is known here."""
    groups = optimiser.param_groups
    plain = all(group.get("fused") and not any(group.get(name) for name in _LEFT_TO_IT) for group in groups)
    on_cpu = all(parameter.device.type == "cpu" for group in groups for parameter in group["params"])
    if not (plain and on_cpu):
        return None
    # AdamW is a class of its own, or an Adam with this option, depending on torch's version.
    decoupled = isinstance(optimiser, torch.optim.AdamW)
    if not decoupled and (type(optimiser) is not torch.optim.Adam or groups[0].get("decoupled_weight_decay")):
        return None
    return getattr(torch, "_fused_adamw_" if decoupled else "_fused_adam_", None)


def _group(state: Mapping[Any, dict[str, Tensor]], options: dict[str, Any]) -> _Group:
    states = [state[parameter] for parameter in options["params"]]
    all_counts = torch.stack([each["step"] for each in states])
    counts = list(all_counts.unbind())
    for each, own in zip(states, counts, strict=True):
        each["step"] = own
    means, squares = ([each[name] for each in states] for name in ("exp_avg", "exp_avg_sq"))
    return _Group(options, options["params"], means, squares, counts, all_counts)
