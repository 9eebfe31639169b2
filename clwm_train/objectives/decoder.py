"""The decoder of UNICORN-SS (Li et al. 2024, arXiv 2402.02429): z must predict the task's transitions."""

from __future__ import annotations

import torch
from torch import Tensor

from clwm_train.config import DecoderConfig, NetworkConfig
from clwm_train.kernels.streams import Purpose
from clwm_train.model.nn import MLP, Initialiser
from clwm_train.objectives.base import Objective, Representation, Sizes


class Decoder(Objective):
    """Predicts (s' - s, r) from (s, a, z), for the transitions of the windows, not those of the context.

    The error, in the scale of the training data, is the squared error of the observation, averaged over its
    entries, plus reward_weight times that of the reward; so the weight of the reward does not depend on the
    size of the observation.

    Args:
        config: weights and network.
        network: style of the MLP.
        sizes: sizes of seeds, observation, action and z.
    """

    name = "decoder"
    label = "decoder of (s', r)"

    def __init__(self, config: DecoderConfig, network: NetworkConfig, sizes: Sizes) -> None:
        super().__init__()
        self.config = config
        initialiser = Initialiser(sizes.seeds, network.init, Purpose.OBJECTIVE_INITIALISATION)
        inputs = [sizes.observation, sizes.action, sizes.z]
        self.network = MLP(initialiser, inputs, config.hidden, sizes.observation + 1, style=network.style)

    def make_optimiser(self) -> torch.optim.Optimizer:
        """Adam of the decoder."""
        return torch.optim.Adam(self.network.parameters(), lr=self.config.learning_rate, fused=True)

    def forward(self, representation: Representation) -> tuple[Tensor, dict[str, Tensor]]:
        """Trains the context encoder and the decoder."""
        batch = representation.batch
        before, after = batch.observation[..., :-1, :], batch.observation[..., 1:, :]
        z = representation.z[:, :, None, None, :].expand(*before.shape[:-1], -1)
        decoded = self.network(torch.cat([before, batch.action, z], -1))
        share = batch.mask / batch.mask.sum((1, 2, 3), keepdim=True).clamp(min=1.0)
        change = (decoded[..., :-1] - (after - before)).square().mean(-1)
        reward = (decoded[..., -1] - batch.reward).square()
        change_error, reward_error = ((share * error).sum((1, 2, 3)) for error in (change, reward))
        loss = self.config.weight * (change_error + self.config.reward_weight * reward_error)
        return loss, {"observation": change_error.detach(), "reward": reward_error.detach()}
