"""Temporal consistency (SPC's own objective): a window's codes and rewards, predicted open-loop."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from clwm_train.config import TemporalConsistencyConfig
from clwm_train.objectives.base import Objective, Representation


class TemporalConsistency(Objective):
    """Rolls the latent dynamics from a window's first code; gradients reach the context encoder through z.

    Step t has weight rho^t; steps at or after a termination have weight 0. The loss is averaged over latent
    dimensions and over all steps with a weight.

    Two more heads may learn on the roll-out: the world model's prediction of terminations (binary
    cross-entropy), and critics (:class:`clwm_train.model.backbones.RolloutActorCritic`). They, and with the
    former the others, too, learn from the terminating step as well.
    """

    name = "temporal_consistency"
    label = "temporal consistency"

    def __init__(self, config: TemporalConsistencyConfig) -> None:
        super().__init__()
        self.config = config

    def forward(self, representation: Representation) -> tuple[Tensor, dict[str, Tensor]]:
        """Consistency loss + the errors of rewards, terminations and values, times their weights."""
        config, batch, world_model = self.config, representation.batch, representation.world_model
        code = representation.first_code
        if world_model is None or code is None:
            raise ValueError("temporal consistency needs a world model")
        horizon = batch.action.shape[-2]
        z = representation.z.unsqueeze(-2).expand(*code.shape[:-1], -1)
        target = world_model.encode_target(batch.observation[..., 1:, :])
        consistency, inputs, codes = [], [], []
        for t in range(horizon):
            codes.append(code)
            inputs.append(world_model.inputs(code, batch.action[..., t, :], z))
            output = world_model.dynamics(inputs[-1])
            if t + 1 < horizon:
                error, code = world_model.prediction.loss_and_advance(
                    output, code, target[..., t, :], representation.noise
                )
            else:
                error = world_model.prediction.loss(output, code, target[..., t, :])
            consistency.append(error)
        discount = config.rho ** torch.arange(horizon, device=code.device)
        before, until = _shares(batch.mask, batch.terminated)
        joined = torch.stack(inputs, -2)
        termination = world_model.termination(joined)
        share = before if termination is None else until

        def averaged(share: Tensor, error: Tensor) -> Tensor:
            return (share * discount * error).sum((1, 2, 3))

        losses = {
            "consistency": averaged(share, torch.stack(consistency, -1)),
            "reward": averaged(share, world_model.reward_error(joined, batch.reward)),
        }
        loss = losses["consistency"] + config.reward_weight * losses["reward"]
        if termination is not None:
            error = functional.binary_cross_entropy_with_logits(
                termination, batch.terminated, reduction="none"
            )
            losses["termination"] = averaged(until, error)
            loss = loss + config.termination_weight * losses["termination"]
        if representation.critic_error is not None:
            state = torch.cat([torch.stack(codes, -2), z.unsqueeze(-2).expand(*joined.shape[:-1], -1)], -1)
            losses["value"] = averaged(until, representation.critic_error(state))
            loss = loss + config.value_weight * losses["value"]
        return config.weight * loss, {name: value.detach() for name, value in losses.items()}


def _shares(mask: Tensor, terminated: Tensor) -> tuple[Tensor, Tensor]:
    """Shares [S, T, B, H] of the steps before a termination, and of those up to and including it; each add up
    to 1 per seed.
    """
    before = mask * (1.0 - terminated).cumprod(-1)
    begun = torch.cat([torch.ones_like(mask[..., :1]), before[..., :-1]], -1)
    return tuple(  # type: ignore[return-value]
        weight / weight.sum((1, 2, 3), keepdim=True).clamp(min=1.0) for weight in (before, mask * begun)
    )
