"""TD-MPC2's critics and policy prior (Hansen et al. 2024, arXiv 2310.16828), offline."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.func import functional_call

from clwm_train.config import NetworkConfig, Tdmpc2Config
from clwm_train.model.backbones.base import RolloutActorCritic, Transitions, make_critics
from clwm_train.model.nn import Initialiser
from clwm_train.model.policy import Policy
from clwm_train.model.scalar import make_scalar

#: Percentiles whose distance is the range of Q.
RANGE = (0.05, 0.95)


class TDMPC2(RolloutActorCritic):
    """An ensemble of critics on the world model's roll-outs, and a policy that maximises them near the data.

    Critics: regression (two-hot, or by squared error) of r + gamma (1 - terminated) min of two target critics
    at (s', a'), where a' is drawn from the policy, and the two critics at random for every transition.

    Policy: it maximises Q(s, a) / S + entropy_weight * |a| * entropy, a drawn from it, with S the running
    distance of the 5th and 95th percentile of Q, at least 1. Offline, nothing in that keeps it near the data,
    so it also imitates: + imitation_weight * w log pi(a_data | s), with the weight w = exp(beta A), A =
    Q(s, a_data) - Q(s, a), of critic-regularised regression (Wang et al. 2020, arXiv 2006.15134).
    """

    name = "tdmpc2"

    def __init__(
        self,
        initialiser: Initialiser,
        policy: Policy,
        inputs: Sequence[int],
        action_size: int,
        config: Tdmpc2Config,
        network: NetworkConfig,
    ) -> None:
        scalar = make_scalar(config.bins)
        critics = make_critics(
            initialiser,
            inputs,
            action_size,
            config.hidden,
            network,
            copies=config.critics,
            outputs=scalar.outputs,
        )
        scalar.initialise(critics)
        super().__init__(policy, critics, config)
        self.config = config
        self.scalar = scalar
        #: Noise of the policy's actions in s' and in s, and the draw of two critics.
        self._noise_sizes = [policy.noise_size, policy.noise_size, config.critics]
        self.noise_size = sum(self._noise_sizes)
        #: [S] range of Q.
        self.scale: Tensor
        self.register_buffer("scale", torch.ones(len(initialiser.seeds)))

    def action_value(self, state: Tensor, action: Tensor) -> Tensor:
        """See :meth:`ActorCritic.action_value`; the mean of all critics, of which the paper draws two."""
        return self.scalar.value(self.critics(torch.cat([state, action], -1))).mean(1)

    def critic_error(self, state: Tensor, transitions: Transitions, noise: Tensor) -> Tensor:
        """See :meth:`RolloutActorCritic.critic_error`; averaged over the critics."""
        action_noise, _, critic_noise = torch.split(noise, self._noise_sizes, -1)
        target = self._target(transitions, action_noise, critic_noise)
        output = self.critics(torch.cat([state, transitions.action], -1))
        return self.scalar.error(output, target.unsqueeze(1).expand(output.shape[:-1])).mean(1)

    @torch.no_grad()
    def _target(self, transitions: Transitions, action_noise: Tensor, critic_noise: Tensor) -> Tensor:
        """Targets [S, N, H] of the critics."""
        following = transitions.state[..., 1:, :]
        action = self.policy.sample(following, action_noise)
        q = self.scalar.value(self.target_critics(torch.cat([following, action], -1)))
        pair = critic_noise.topk(2, dim=-1).indices
        lower = q.movedim(1, -1).gather(-1, pair).amin(-1)
        return transitions.reward + self.discount * (1.0 - transitions.terminated) * lower

    def losses(
        self, transitions: Transitions, noise: Tensor | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The policy's loss; step t of a window has weight rho^t."""
        if noise is None:
            raise ValueError("the policy needs noise")
        config, mean = self.config, transitions.mean
        state, action = transitions.before, transitions.action
        chosen = self.policy.sample(state, torch.split(noise, self._noise_sizes, -1)[1])
        frozen = {name: parameter.detach() for name, parameter in self.critics.named_parameters()}
        output = functional_call(self.critics, frozen, (torch.cat([state, chosen], -1),))
        q = self.scalar.value(output).mean(1)
        self._move_scale(q.detach()[..., 0])
        scale = self.scale.clamp(min=1.0)[:, None, None]
        entropy = -self.policy.log_prob(state, chosen)
        likelihood = self.policy.log_prob(state, action)
        with torch.no_grad():
            advantage = self.action_value(state, action) - q
            weight = torch.exp(config.inverse_temperature * advantage).clamp(max=config.max_weight)
        gain = q / scale + config.entropy_weight * action.shape[-1] * entropy
        imitation = weight * likelihood
        discount = config.rho ** torch.arange(action.shape[-2], device=action.device)
        loss = mean(-discount * (gain + config.imitation_weight * imitation))
        metrics = {
            "policy_loss": loss,
            "q": mean(q),
            "scale": self.scale,
            "entropy": mean(entropy),
            "likelihood": mean(likelihood),
            "imitation_weight": mean(weight),
        }
        return loss, {name: metric.detach().clone() for name, metric in metrics.items()}

    @torch.no_grad()
    def _move_scale(self, q: Tensor) -> None:
        """Move the range of Q towards that of q [S, N]."""
        low, high = (percentile(q, share) for share in RANGE)
        self.scale.lerp_(high - low, self.config.scale_tau)


def percentile(values: Tensor, share: float) -> Tensor:
    """The value [S] below which a share of values [S, N] lies, interpolated linearly."""
    position = share * (values.shape[1] - 1)
    low = int(position)
    neighbours = values.sort(1).values[:, low : low + 2]
    return torch.lerp(neighbours[:, 0], neighbours[:, -1], position - low)
