"""TD3+BC (Fujimoto & Gu 2021, arXiv 2106.06860): a deterministic policy that maximises Q near the data."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.func import functional_call

from clwm_train.config import NetworkConfig, Td3BcConfig
from clwm_train.model.backbones.base import ActorCritic, Transitions, make_critics
from clwm_train.model.nn import EmaCopy, Initialiser
from clwm_train.model.policy import Policy


def critic_loss(q: Tensor, reward: Tensor, terminated: Tensor, next_q: Tensor, discount: float) -> Tensor:
    """Both critics on the clipped double target of TD3: sum over i of (r + gamma min_j Q_j(s', a') - Q_i)^2.

    Args:
        q: [S, 2, N, H].
        reward: [S, N, H].
        terminated: [S, N, H].
        next_q: [S, 2, N, H], of the target critics, without gradient.
        discount: gamma.
    """
    target = reward + discount * (1.0 - terminated) * next_q.amin(1)
    return (q - target.unsqueeze(1)).square().sum(1)


def actor_loss(q: Tensor, scale: Tensor, alpha: float, chosen: Tensor, action: Tensor) -> Tensor:
    """Equation 5 of the paper, as a loss: (pi(s) - a)^2 - alpha Q(s, pi(s)) / mean |Q|.

    Args:
        q: Q(s, pi(s)) [S, N, H], with gradient to the policy alone.
        scale: mean abs Q(s, pi(s)) over the batch, [S], without gradient.
        alpha: weight of the values.
        chosen: pi(s) [S, N, H, act].
        action: actions of the data [S, N, H, act].
    """
    return (chosen - action).square().mean(-1) - alpha * q / scale.clamp(min=1e-6)[:, None, None]


class TD3BC(ActorCritic):
    """TD3+BC, with two differences from the paper: policy and targets learn at every update, not at every
    second one, and observations are scaled like the run's data. ReBRAC's penalty on the critics is left out:
    it needs the data's next action, which windows of one step do not contain.
    """

    name = "td3bc"

    def __init__(
        self,
        initialiser: Initialiser,
        policy: Policy,
        inputs: Sequence[int],
        action_size: int,
        config: Td3BcConfig,
        network: NetworkConfig,
    ) -> None:
        critics = make_critics(initialiser, inputs, action_size, config.hidden, network)
        super().__init__(policy, critics, config)
        self.config = config
        #: Noise on the target policy's actions.
        self.noise_size = action_size
        self.target_policy = EmaCopy(policy, config.target_tau)

    def losses(
        self, transitions: Transitions, noise: Tensor | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """critic_loss + policy_loss."""
        if noise is None:
            raise ValueError("the target policy needs noise")
        config, mean = self.config, transitions.mean
        state, action = transitions.before, transitions.action
        q = self.critics(torch.cat([state, action], -1)).squeeze(-1)
        critics_loss = mean(
            critic_loss(
                q,
                transitions.reward,
                transitions.terminated,
                self._next_q(transitions.state[..., 1:, :], noise),
                config.discount,
            )
        )
        chosen = self.policy.mode(state)
        frozen = {name: parameter.detach() for name, parameter in self.critics.named_parameters()}
        chosen_q = functional_call(self.critics, frozen, (torch.cat([state, chosen], -1),)).squeeze(-1)[:, 0]
        scale = mean(chosen_q.detach().abs())
        policy_loss = mean(actor_loss(chosen_q, scale, config.alpha, chosen, action))
        metrics = {
            "critic_loss": critics_loss,
            "policy_loss": policy_loss,
            "q": mean(q.amin(1)),
            "distance": mean((chosen - action).square().mean(-1)),
        }
        return critics_loss + policy_loss, {name: metric.detach() for name, metric in metrics.items()}

    @torch.no_grad()
    def _next_q(self, state: Tensor, noise: Tensor) -> Tensor:
        """Q_target(s', pi_target(s') + clipped noise): [S, 2, N, H]."""
        smoothing = (self.config.policy_noise * noise).clamp(-self.config.noise_clip, self.config.noise_clip)
        action = (self.target_policy.network.mode(state) + smoothing).clamp(-1.0, 1.0)
        q: Tensor = self.target_critics(torch.cat([state, action], -1)).squeeze(-1)
        return q

    def update_targets(self) -> None:
        """Move target critics and target policy."""
        super().update_targets()
        self.target_policy.update(self.policy)
