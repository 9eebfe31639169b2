"""Target networks."""

from __future__ import annotations

import copy
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

Network = TypeVar("Network", bound=nn.Module)


class EmaCopy(nn.Module, Generic[Network]):
    """An exponential moving average of a network's parameters; receives no gradient.

    Args:
        network: the network, which is copied.
        tau: share of the network in each update: target <- (1 - tau) target + tau network.
    """

    def __init__(self, network: Network, tau: float) -> None:
        super().__init__()
        self.network: Network = copy.deepcopy(network).requires_grad_(False)
        self.tau = tau
        #: The network that it was last moved to, and both networks' parameters, which take long to list.
        self._known: tuple[Network, list[Tensor], list[Tensor]] | None = None

    @torch.no_grad()
    def update(self, network: Network) -> None:
        """Move towards ``network``."""
        if self._known is None or self._known[0] is not network:
            self._known = network, list(self.network.parameters()), list(network.parameters())
        torch._foreach_lerp_(*self._known[1:], self.tau)

    @torch.no_grad()
    def forward(self, *inputs: Tensor) -> Any:
        """The averaged network's output, without gradient."""
        return self.network(*inputs)
