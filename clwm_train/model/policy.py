"""Policies: networks whose outputs are distributions over actions in [-1, 1]."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from clwm_train.config import NetworkConfig, PolicyConfig, TrainConfig
from clwm_train.model.nn import MLP, Initialiser

LOG_SQRT_2_PI = 0.5 * math.log(2.0 * math.pi)


class Policy(nn.Module, ABC):
    """A distribution over actions given the state [feature, z].

    Args:
        initialiser: draws the weights of S seeds.
        inputs: sizes of feature and z.
        outputs: entries of the network's output.
        hidden: hidden layers.
        network: style of the MLP.

    Attributes:
        noise_size: standard normal numbers that one sampled action needs.
        stochastic: samples differ from the mode, and actions have a density.
    """

    noise_size: int
    stochastic = True

    def __init__(
        self,
        initialiser: Initialiser,
        inputs: Sequence[int],
        outputs: int,
        hidden: Sequence[int],
        network: NetworkConfig,
    ) -> None:
        super().__init__()
        self.network = MLP(initialiser, inputs, hidden, outputs, style=network.style)

    @abstractmethod
    def mode(self, state: Tensor) -> Tensor:
        """The action [S, ..., act] that deterministic acting takes in states [S, ..., inputs]."""

    @abstractmethod
    def sample(self, state: Tensor, noise: Tensor, scale: float = 1.0) -> Tensor:
        """Actions [S, ..., act] drawn in states [S, ..., inputs], clipped to [-1, 1].

        Args:
            state: [S, ..., inputs].
            noise: [S, ..., noise_size], standard normal.
            scale: factor of the policy's standard deviations.
        """

    @abstractmethod
    def log_prob(self, state: Tensor, action: Tensor) -> Tensor:
        """Log density [S, ...] of actions [S, ..., act]."""


class StochasticPolicy(Policy):
    """A policy whose standard deviations are squashed into a range.

    Args:
        initialiser: draws the weights of S seeds.
        inputs: sizes of feature and z.
        action_size: entries of an action.
        config: number of components, range of the standard deviations.
        hidden: hidden layers.
        network: style of the MLP.

    Attributes:
        extra_noise: numbers of the noise beside one per entry of the action.
    """

    extra_noise = 0

    def __init__(
        self,
        initialiser: Initialiser,
        inputs: Sequence[int],
        action_size: int,
        config: PolicyConfig,
        hidden: Sequence[int],
        network: NetworkConfig,
    ) -> None:
        super().__init__(initialiser, inputs, self.outputs(action_size, config), hidden, network)
        self.components, self.action_size = config.components, action_size
        self.noise_size = action_size + self.extra_noise
        self._range = config.log_std_min, config.log_std_max

    @staticmethod
    @abstractmethod
    def outputs(action_size: int, config: PolicyConfig) -> int:
        """Entries of the network's output."""


class GaussianPolicy(StochasticPolicy):
    """Diagonal Gaussian with a tanh mean and a log standard deviation squashed into a range (published)."""

    @staticmethod
    def outputs(action_size: int, config: PolicyConfig) -> int:
        """Means and standard deviations."""
        return 2 * action_size

    def forward(self, state: Tensor) -> tuple[Tensor, Tensor]:
        """[S, ..., inputs] -> mean and log standard deviation, each [S, ..., act]."""
        mean, raw = self.network(state).chunk(2, -1)
        return torch.tanh(mean), _squash(raw, *self._range)

    def mode(self, state: Tensor) -> Tensor:
        """The mean."""
        return torch.tanh(self.network(state)[..., : self.action_size])

    def sample(self, state: Tensor, noise: Tensor, scale: float = 1.0) -> Tensor:
        """See :meth:`Policy.sample`."""
        mean, log_std = self(state)
        action: Tensor = mean + scale * noise * log_std.exp()
        return action.clamp(-1.0, 1.0)

    def log_prob(self, state: Tensor, action: Tensor) -> Tensor:
        """See :meth:`Policy.log_prob`."""
        return _gaussian_log_density(action, *self(state))


class MixturePolicy(StochasticPolicy):
    """Mixture of diagonal Gaussians, which can represent several behaviours that act differently in a state;
    the mean of a single Gaussian would lie between them.

    Deterministic acting takes the mean of the most likely component.
    """

    extra_noise = 1  # chooses the component

    @staticmethod
    def outputs(action_size: int, config: PolicyConfig) -> int:
        """The components' weights, means and standard deviations."""
        return config.components * (1 + 2 * action_size)

    def forward(self, state: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """[S, ..., inputs] -> log weights [S, ..., C], means and log standard deviations [S, ..., C, act]."""
        logits, mean, raw = self._outputs(state)
        shape = (*state.shape[:-1], self.components, self.action_size)
        return (
            torch.log_softmax(logits, -1),
            torch.tanh(mean).view(shape),
            _squash(raw, *self._range).view(shape),
        )

    def _outputs(self, state: Tensor) -> tuple[Tensor, ...]:
        """Logits, means and standard deviations of all components, before they are bounded."""
        size = self.components * self.action_size
        outputs: Tensor = self.network(state)
        return torch.split(outputs, [self.components, size, size], -1)

    def mode(self, state: Tensor) -> Tensor:
        """The mean of the most likely component."""
        logits, mean, _ = self._outputs(state)
        means = torch.unflatten(mean, -1, (self.components, self.action_size))
        return torch.tanh(_component(means, logits.argmax(-1, keepdim=True)))

    def sample(self, state: Tensor, noise: Tensor, scale: float = 1.0) -> Tensor:
        """See :meth:`Policy.sample`; ``scale`` does not change how often a component is chosen."""
        log_weight, mean, log_std = self(state)
        below = log_weight.exp().cumsum(-1) <= torch.special.ndtr(noise[..., -1:])
        index = below.sum(-1, keepdim=True).clamp(max=self.components - 1)
        spread = scale * noise[..., :-1] * _component(log_std, index).exp()
        return (_component(mean, index) + spread).clamp(-1.0, 1.0)

    def log_prob(self, state: Tensor, action: Tensor) -> Tensor:
        """See :meth:`Policy.log_prob`."""
        log_weight, mean, log_std = self(state)
        return torch.logsumexp(log_weight + _gaussian_log_density(action.unsqueeze(-2), mean, log_std), -1)


class DeterministicPolicy(Policy):
    """One action per state, through a tanh."""

    stochastic = False
    noise_size = 0

    def __init__(
        self,
        initialiser: Initialiser,
        inputs: Sequence[int],
        action_size: int,
        hidden: Sequence[int],
        network: NetworkConfig,
    ) -> None:
        super().__init__(initialiser, inputs, action_size, hidden, network)

    def mode(self, state: Tensor) -> Tensor:
        """The action."""
        return torch.tanh(self.network(state))

    def sample(self, state: Tensor, noise: Tensor, scale: float = 1.0) -> Tensor:
        """The action; there is nothing to draw."""
        return self.mode(state)

    def log_prob(self, state: Tensor, action: Tensor) -> Tensor:
        """Not defined.

        Raises:
            TypeError: always; :class:`TrainConfig` rejects configurations that would need it.
        """
        raise TypeError("a deterministic policy has no density")


def make_policy(
    initialiser: Initialiser,
    inputs: Sequence[int],
    action_size: int,
    config: TrainConfig,
) -> Policy:
    """The policy that a configuration names."""
    hidden, network = config.learning.hidden, config.network
    match config.policy_head:
        case "gaussian":
            return GaussianPolicy(initialiser, inputs, action_size, config.policy, hidden, network)
        case "mixture":
            return MixturePolicy(initialiser, inputs, action_size, config.policy, hidden, network)
        case "deterministic":
            return DeterministicPolicy(initialiser, inputs, action_size, hidden, network)


def _squash(raw: Tensor, low: float, high: float) -> Tensor:
    return low + 0.5 * (high - low) * (torch.tanh(raw) + 1.0)


def _gaussian_log_density(action: Tensor, mean: Tensor, log_std: Tensor) -> Tensor:
    """Log density of a diagonal Gaussian, summed over the last axis."""
    error = (action - mean) * torch.exp(-log_std)
    density: Tensor = -0.5 * error.square() - log_std - LOG_SQRT_2_PI
    return density.sum(-1)


def _component(values: Tensor, index: Tensor) -> Tensor:
    """Entry of values [..., C, act] at an index [..., 1]: [..., act]."""
    rows = index.unsqueeze(-1).expand(*index.shape, values.shape[-1])
    return values.gather(-2, rows).squeeze(-2)
