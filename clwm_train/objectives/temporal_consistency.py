"""Temporal consistency (SPC's own objective): a window's codes and rewards, predicted open-loop."""

from __future__ import annotations

import torch
from torch import Tensor

from clwm_train.config import TemporalConsistencyConfig
from clwm_train.objectives.base import Objective, Representation


class TemporalConsistency(Objective):
    """Rolls the latent dynamics from a window's first code; gradients reach the context encoder through z.

    Step t has weight rho^t; steps at or after a termination have weight 0. The loss is averaged over latent
    dimensions and over all steps with a weight.
    """

    name = "temporal_consistency"
    label = "temporal consistency"

    def __init__(self, config: TemporalConsistencyConfig) -> None:
        super().__init__()
        self.config = config

    def forward(self, representation: Representation) -> tuple[Tensor, dict[str, Tensor]]:
        """Consistency loss + reward_weight * reward error."""
        batch, world_model = representation.batch, representation.world_model
        code = representation.first_code
        if world_model is None or code is None:
            raise ValueError("temporal consistency needs a world model")
        horizon = batch.action.shape[-2]
        z = representation.z.unsqueeze(-2).expand(*code.shape[:-1], -1)
        target = world_model.encode_target(batch.observation[..., 1:, :])
        consistency, inputs = [], []
        for t in range(horizon):
            inputs.append(world_model.inputs(code, batch.action[..., t, :], z))
            output = world_model.dynamics(inputs[-1])
            if t + 1 < horizon:
                error, code = world_model.prediction.loss_and_advance(
                    output, code, target[..., t, :], representation.noise
                )
            else:
                error = world_model.prediction.loss(output, code, target[..., t, :])
            consistency.append(error)
        weight = _weight(batch.mask, batch.terminated)
        discount = self.config.rho ** torch.arange(horizon, device=weight.device)
        share = weight / weight.sum((1, 2, 3), keepdim=True).clamp(min=1.0)
        consistency_loss = (share * discount * torch.stack(consistency, -1)).sum((1, 2, 3))
        reward = world_model.reward(torch.stack(inputs, -2)) - batch.reward
        reward_loss = (share * discount * reward.square()).sum((1, 2, 3))
        loss = self.config.weight * (consistency_loss + self.config.reward_weight * reward_loss)
        return loss, {"consistency": consistency_loss.detach(), "reward": reward_loss.detach()}


def _weight(mask: Tensor, terminated: Tensor) -> Tensor:
    """1 for steps inside the episode and before its termination: [S, T, B, H]."""
    return mask * (1.0 - terminated).cumprod(-1)
