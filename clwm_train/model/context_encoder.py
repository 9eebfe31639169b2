"""The context encoder: a few transitions of a task -> its representation z."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from clwm_train.config import ContextConfig, NetworkConfig
from clwm_train.model.nn import MLP, Initialiser


class ContextEncoder(nn.Module):
    """z = mean over k of tanh(E(x_k)), for transitions x = [s, a, r] (and s' where configured).

    Args:
        initialiser: draws the weights of S seeds.
        inputs: sizes of the parts of a transition x.
        config: sizes.
        network: style of the MLP E.
    """

    def __init__(
        self, initialiser: Initialiser, inputs: Sequence[int], config: ContextConfig, network: NetworkConfig
    ) -> None:
        super().__init__()
        self.size = config.dim
        self.network = MLP(initialiser, inputs, config.hidden, config.dim, style=network.style)

    def embed(self, transitions: Tensor) -> Tensor:
        """Each transition's own vote [S, ..., x] -> [S, ..., z] in (-1, 1)."""
        return torch.tanh(self.network(transitions))

    def forward(self, context: Tensor) -> Tensor:
        """Contexts [S, ..., K, x] -> z [S, ..., z], independent of the order of the K transitions."""
        return self.embed(context).mean(-2)
