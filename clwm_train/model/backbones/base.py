"""The interface of a backbone."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from clwm_train.config import ActorCriticConfig, NetworkConfig
from clwm_train.model.nn import MLP, EmaCopy, Initialiser
from clwm_train.model.policy import Policy


@dataclass(frozen=True)
class Transitions:
    """The data of values and policy: N windows of H steps for each seed.

    Attributes:
        state: [S, N, H + 1, inputs], [feature, z] of consecutive observations, without gradient.
        action: [S, N, H, act].
        reward: [S, N, H].
        terminated: [S, N, H], 1 for terminal transitions; a truncation is not a termination.
        mask: [S, N, H], 0 for padding.
    """

    state: Tensor
    action: Tensor
    reward: Tensor
    terminated: Tensor
    mask: Tensor

    @property
    def before(self) -> Tensor:
        """s: [S, N, H, inputs]."""
        return self.state[..., :-1, :]

    def mean(self, value: Tensor) -> Tensor:
        """Mean [S] of values [S, N, H] over the transitions that are not padding."""
        share = self.mask / self.mask.sum((1, 2), keepdim=True).clamp(min=1.0)
        return (value * share).sum((1, 2))


class Backbone(nn.Module, ABC):
    """Learns a policy, and values if it has critics.

    Args:
        policy: the policy that it trains.

    Attributes:
        name: its name in metrics and profiles.
        noise_size: standard normal numbers that the losses need per transition.
    """

    name: str
    noise_size = 0

    def __init__(self, policy: Policy) -> None:
        super().__init__()
        self.policy = policy

    @abstractmethod
    def losses(
        self, transitions: Transitions, noise: Tensor | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss [S], with gradient to all trained networks, and metrics [S] by name, without gradient.

        Args:
            transitions: the data to learn from.
            noise: [S, N, H, noise_size], standard normal; ``None`` if ``noise_size`` is 0.
        """

    def update_targets(self) -> None:
        """Move the target networks, if there are any; called after every update."""


class ActorCritic(Backbone):
    """A backbone with an ensemble of critics Q(s, a) and EMA targets of them.

    Args:
        policy: the policy that it trains.
        critics: the critics.
        config: constants.
    """

    def __init__(self, policy: Policy, critics: MLP, config: ActorCriticConfig) -> None:
        super().__init__(policy)
        self.discount = config.discount
        self.critics = critics
        self.target_critics = EmaCopy(critics, config.target_tau)

    def action_value(self, state: Tensor, action: Tensor) -> Tensor:
        """Q(s, a) [S, ...] of states [S, ..., inputs], with which plans are valued: the lowest critic's."""
        q: Tensor = self.critics(torch.cat([state, action], -1)).squeeze(-1)
        return q.amin(1)

    def update_targets(self) -> None:
        """Move the target critics."""
        self.target_critics.update(self.critics)


class RolloutActorCritic(ActorCritic):
    """A backbone whose critics learn on roll-outs of the world model; their loss also trains the world model
    and the context encoder. ``losses`` is that of the policy alone.
    """

    @abstractmethod
    def critic_error(self, state: Tensor, transitions: Transitions, noise: Tensor) -> Tensor:
        """Error of the critics at every step: [S, N, H].

        Args:
            state: [S, N, H, inputs], states of the roll-out, with gradient.
            transitions: the data, whose states are encoded, without gradient.
            noise: [S, N, H, noise_size], as for ``losses``.
        """


def make_critics(
    initialiser: Initialiser,
    inputs: Sequence[int],
    action_size: int,
    hidden: Sequence[int],
    network: NetworkConfig,
    *,
    copies: int = 2,
    outputs: int = 1,
) -> MLP:
    """Critics of [state, action]: [S, ..., inputs + act] -> [S, copies, ..., outputs].

    Args:
        initialiser: draws the weights of S seeds.
        inputs: sizes of the parts of a state.
        action_size: entries of an action.
        hidden: hidden layers.
        network: style of the MLPs.
        copies: critics per seed.
        outputs: entries of the output.
    """
    parts = [*inputs, action_size]
    return MLP(initialiser, parts, hidden, outputs, style=network.style, copies=copies)
