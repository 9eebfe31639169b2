"""Implicit Q-learning (Kostrikov et al. 2022, arXiv 2110.06169)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from clwm_train.config import IqlConfig, NetworkConfig
from clwm_train.model.backbones.base import ActorCritic, Transitions, make_critics
from clwm_train.model.nn import MLP, Initialiser
from clwm_train.model.policy import Policy


def value_loss(advantage: Tensor, expectile: float) -> Tensor:
    """Expectile regression of V(s) on Q_target(s, a), equation 5: |expectile - 1(u < 0)| u^2.

    Args:
        advantage: u = Q_target(s, a) - V(s), with gradient to V.
        expectile: above 1/2, V leans towards the values of the better actions.
    """
    below = (advantage.detach() < 0.0).float()
    return (expectile - below).abs() * advantage.square()


def critic_loss(q: Tensor, reward: Tensor, terminated: Tensor, next_value: Tensor, discount: float) -> Tensor:
    """Both critics on the one-step target, equation 6: sum over i of (r + gamma V(s') - Q_i(s, a))^2.

    Args:
        q: [S, 2, N, H].
        reward: [S, N, H].
        terminated: [S, N, H]; nothing follows a termination.
        next_value: V(s') [S, N, H], without gradient.
        discount: gamma.
    """
    target = reward + discount * (1.0 - terminated) * next_value
    return (q - target.unsqueeze(1)).square().sum(1)


def actor_loss(log_prob: Tensor, weight: Tensor) -> Tensor:
    """Advantage-weighted regression, equation 7: -exp(beta (Q_target(s, a) - V(s))) log pi(a | s).

    Args:
        log_prob: log pi(a | s).
        weight: :func:`advantage_weight`.
    """
    return -weight * log_prob


def advantage_weight(advantage: Tensor, inverse_temperature: float, maximum: float) -> Tensor:
    """exp(beta A), clipped to ``maximum``; without gradient."""
    return torch.exp(inverse_temperature * advantage.detach()).clamp(max=maximum)


class IQL(ActorCritic):
    """V(s) learns from the target critics, the critics from V(s'), the policy from their difference.

    All three losses use the networks as they were before the update.
    """

    name = "iql"

    def __init__(
        self,
        initialiser: Initialiser,
        policy: Policy,
        inputs: Sequence[int],
        action_size: int,
        config: IqlConfig,
        network: NetworkConfig,
    ) -> None:
        value = MLP(initialiser, inputs, config.hidden, 1, style=network.style)
        critics = make_critics(initialiser, inputs, action_size, config.hidden, network)
        super().__init__(policy, critics, config)
        self.config = config
        self.value = value

    def losses(
        self, transitions: Transitions, noise: Tensor | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """value_loss + critic_loss + policy_loss."""
        config, mean = self.config, transitions.mean
        state, action = transitions.before, transitions.action
        state_action = torch.cat([state, action], -1)
        values = self.value(transitions.state).squeeze(-1)
        value, next_value = values[..., :-1], values[..., 1:].detach()
        target_q = self.target_critics(state_action).squeeze(-1).amin(1)
        q = self.critics(state_action).squeeze(-1)
        advantage = target_q - value
        weight = advantage_weight(advantage, config.inverse_temperature, config.max_weight)

        expectile_loss = mean(value_loss(advantage, config.expectile))
        critics_loss = mean(
            critic_loss(q, transitions.reward, transitions.terminated, next_value, config.discount)
        )
        policy_loss = mean(actor_loss(self.policy.log_prob(state, action), weight))
        metrics = {
            "value_loss": expectile_loss,
            "critic_loss": critics_loss,
            "policy_loss": policy_loss,
            "value": mean(value),
            "q": mean(target_q),
            "advantage_weight": mean(weight),
            "clipped": mean((weight >= config.max_weight).float()),
        }
        loss = expectile_loss + critics_loss + policy_loss
        return loss, {name: metric.detach() for name, metric in metrics.items()}
