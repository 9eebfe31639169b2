"""The interface of a backbone."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

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
    """A backbone with twin critics Q(s, a) and EMA targets of them.

    Args:
        initialiser: draws the weights of S seeds.
        policy: the policy that it trains.
        inputs: sizes of the parts of a state.
        action_size: entries of an action.
        config: constants.
        network: style of the MLPs.
    """

    def __init__(
        self,
        initialiser: Initialiser,
        policy: Policy,
        inputs: Sequence[int],
        action_size: int,
        config: ActorCriticConfig,
        network: NetworkConfig,
    ) -> None:
        super().__init__(policy)
        self.discount = config.discount
        self.critics = MLP(
            initialiser, [*inputs, action_size], config.hidden, 1, style=network.style, copies=2
        )
        self.target_critics = EmaCopy(self.critics, config.target_tau)

    def update_targets(self) -> None:
        """Move the target critics."""
        self.target_critics.update(self.critics)
