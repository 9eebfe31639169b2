"""Implicit Q-learning (Kostrikov et al. 2022) on [feature, z], both without gradient."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from clwm_train.config import IqlConfig, NetworkConfig
from clwm_train.model.nn import MLP, EmaCopy, Initialiser

LOG_SQRT_2_PI = 0.5 * math.log(2.0 * math.pi)


class GaussianPolicy(nn.Module):
    """Gaussian with a tanh mean and a log standard deviation squashed into a range.

    Args:
        initialiser: draws the weights of S seeds.
        inputs: sizes of feature and z.
        action_size: entries of an action.
        config: hidden layers and the range of the log standard deviation.
        network: style of the MLP.
    """

    def __init__(
        self,
        initialiser: Initialiser,
        inputs: Sequence[int],
        action_size: int,
        config: IqlConfig,
        network: NetworkConfig,
    ) -> None:
        super().__init__()
        self.network = MLP(initialiser, inputs, config.hidden, 2 * action_size, style=network.style)
        self._low, self._high = config.log_std_min, config.log_std_max

    def forward(self, state: Tensor) -> tuple[Tensor, Tensor]:
        """[S, ..., inputs] -> mean and log standard deviation, each [S, ..., act]."""
        mean, raw = self.network(state).chunk(2, -1)
        log_std = self._low + 0.5 * (self._high - self._low) * (torch.tanh(raw) + 1.0)
        return torch.tanh(mean), log_std

    def log_prob(self, state: Tensor, action: Tensor) -> Tensor:
        """Log density [S, ...] of actions [S, ..., act]."""
        mean, log_std = self(state)
        error = (action - mean) * torch.exp(-log_std)
        density: Tensor = -0.5 * error.square() - log_std - LOG_SQRT_2_PI
        return density.sum(-1)


class IQL(nn.Module):
    """Policy, value network, twin critics and their EMA targets.

    Args:
        initialiser: draws the weights of S seeds.
        inputs: sizes of feature and z.
        action_size: entries of an action.
        config: constants.
        network: style of the MLPs.
    """

    def __init__(
        self,
        initialiser: Initialiser,
        inputs: Sequence[int],
        action_size: int,
        config: IqlConfig,
        network: NetworkConfig,
    ) -> None:
        super().__init__()
        self.config = config
        style, hidden = network.style, config.hidden
        self.policy = GaussianPolicy(initialiser, inputs, action_size, config, network)
        self.value = MLP(initialiser, inputs, hidden, 1, style=style)
        self.critics = MLP(initialiser, [*inputs, action_size], hidden, 1, style=style, copies=2)
        self.target_critics = EmaCopy(self.critics, config.target_tau)

    def losses(
        self, state: Tensor, action: Tensor, reward: Tensor, terminated: Tensor, mask: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The sum of the three losses, each a mean over the transitions that the mask keeps.

        value: expectile regression of V(s) on min Q_target(s, a); critics: both Q(s, a) on r + gamma (1
        - terminated) V(s'); policy: -log pi(a | s) weighted by min(exp(inverse_temperature * advantage),
        max_weight), advantage = min Q_target(s, a) - V(s). All three use the values from before the update.

        Args:
            state: [S, N, H + 1, inputs], [feature, z] of consecutive observations, without gradient.
            action: [S, N, H, act].
            reward: [S, N, H].
            terminated: [S, N, H], 1 where no value follows; a truncation is not a termination.
            mask: [S, N, H], 0 for padding.

        Returns:
            loss [S] with gradient to policy, value network and critics, and figures [S] without.
        """
        config = self.config
        before = state[..., :-1, :]
        share = mask / mask.sum((1, 2), keepdim=True).clamp(min=1.0)
        values = self.value(state).squeeze(-1)
        value, next_value = values[..., :-1], values[..., 1:].detach()
        state_action = torch.cat([before, action], -1)
        target_q = self.target_critics(state_action).squeeze(-1).amin(1)
        advantage = target_q - value
        below = (advantage.detach() < 0.0).float()
        value_loss = _mean((config.expectile - below).abs() * advantage.square(), share)
        backup = reward + config.discount * (1.0 - terminated) * next_value
        q = self.critics(state_action).squeeze(-1)
        critic_loss = _mean((q - backup.unsqueeze(1)).square().sum(1), share)
        weight = torch.exp(config.inverse_temperature * advantage.detach()).clamp(max=config.max_weight)
        policy_loss = _mean(-weight * self.policy.log_prob(before, action), share)
        figures = {
            "value_loss": value_loss,
            "critic_loss": critic_loss,
            "policy_loss": policy_loss,
            "value": _mean(value, share),
            "q": _mean(target_q, share),
            "advantage_weight": _mean(weight, share),
        }
        loss = value_loss + critic_loss + policy_loss
        return loss, {name: figure.detach() for name, figure in figures.items()}


def _mean(value: Tensor, share: Tensor) -> Tensor:
    """[S, N, H] weighted by shares that add up to 1 for each seed: [S]."""
    return (value * share).sum((1, 2))
