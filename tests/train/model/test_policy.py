"""Policies against torch.distributions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from clwm_data.errors import InvalidInputError
from clwm_train.acting.actor import PolicyActor
from clwm_train.config import TrainConfig
from clwm_train.model.agent import Agent
from clwm_train.model.nn import Initialiser
from clwm_train.model.policy import DeterministicPolicy, GaussianPolicy, MixturePolicy, Policy, make_policy
from tests.train.helpers import small_config

ACTIONS, COMPONENTS, SEEDS = 3, 4, 2


def config_of(head: str, components: int) -> TrainConfig:
    backbone = "td3bc" if head == "deterministic" else "bc"
    overrides = (f"backbone={backbone}", f"policy.head={head}", f"policy.components={components}")
    return small_config("focal-ln", "tiny", *overrides, f"{backbone}.hidden=[16]")


def policy(head: str) -> Policy:
    made = make_policy(Initialiser([3, 4], "fan-in"), (5, 2), ACTIONS, config_of(head, COMPONENTS))
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.5 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    return made


def states(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(SEEDS, *shape, 7, generator=torch.Generator().manual_seed(seed))


def distribution(made: Policy, state: Tensor) -> torch.distributions.Distribution:
    """By torch.distributions, from the raw outputs of the network."""
    raw = made.network(state)

    def std(x: Tensor) -> Tensor:
        return torch.exp(-5.0 + 7.0 * torch.sigmoid(2.0 * x))  # (tanh x + 1) / 2 = sigmoid 2x

    if isinstance(made, GaussianPolicy):
        return Independent(Normal(torch.tanh(raw[..., :ACTIONS]), std(raw[..., ACTIONS:])), 1)
    logits, rest = raw[..., :COMPONENTS], raw[..., COMPONENTS:].unflatten(-1, (2, COMPONENTS, ACTIONS))
    each = Independent(Normal(torch.tanh(rest[..., 0, :, :]), std(rest[..., 1, :, :])), 1)
    return MixtureSameFamily(Categorical(logits=logits), each)


@pytest.mark.parametrize("head", ["gaussian", "mixture"])
def test_log_likelihood_and_gradient_are_those_of_torch_distributions(head: str) -> None:
    made, state = policy(head), states(6, 5)
    action = 2.0 * torch.rand(SEEDS, 6, 5, ACTIONS, generator=torch.Generator().manual_seed(2)) - 1.0
    found, expected = made.log_prob(state, action), distribution(made, state).log_prob(action)
    assert found.shape == (SEEDS, 6, 5)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    parameters = list(made.parameters())
    ours = torch.autograd.grad(found.sum(), parameters)
    for name, mine, theirs in zip(
        dict(made.named_parameters()), ours, torch.autograd.grad(expected.sum(), parameters), strict=True
    ):
        torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-3 * float(theirs.abs().max()), msg=name)


def test_a_mixture_acts_by_the_mean_of_its_likeliest_component() -> None:
    made, state = policy("mixture"), states(50)
    mixture = distribution(made, state)
    assert isinstance(mixture, MixtureSameFamily)
    likeliest = mixture.mixture_distribution.probs.argmax(-1)
    assert len(likeliest.unique()) > 1
    mean = mixture.component_distribution.mean
    for seed, row in np.ndindex(SEEDS, 50):
        torch.testing.assert_close(made.mode(state)[seed, row], mean[seed, row, likeliest[seed, row]])


@pytest.mark.parametrize("head", ["gaussian", "mixture"])
@pytest.mark.parametrize("scale", [1.0, 0.3])
def test_samples_are_distributed_as_they_should_be(head: str, scale: float) -> None:
    """Clipped samples of one state against clipped samples of torch.distributions with scaled deviations."""
    made, draws = policy(head), 60_000
    state = states(1).expand(-1, draws, -1)
    noise = torch.randn(SEEDS, draws, made.noise_size, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        found = made.sample(state, noise, scale)
        wanted = distribution(made, state)
        torch.manual_seed(4)
        if isinstance(wanted, MixtureSameFamily):
            index = wanted.mixture_distribution.sample()[..., None, None].expand(-1, -1, 1, ACTIONS)
            base = wanted.component_distribution.base_dist
            mean, std = (x.gather(-2, index).squeeze(-2) for x in (base.mean, base.stddev))
        else:
            mean, std = wanted.mean, wanted.stddev
        expected = (mean + scale * std * torch.randn(mean.shape)).clamp(-1.0, 1.0)
    assert found.abs().max() <= 1.0
    for power in (1, 2, 3):
        difference = (found**power).mean(1) - (expected**power).mean(1)
        assert difference.abs().max() < 5.0 * np.sqrt(2.0 / draws), power
    pair = [(x[..., 0] * x[..., 1]).mean(1) for x in (found, expected)]
    assert (pair[0] - pair[1]).abs().max() < 5.0 * np.sqrt(2.0 / draws)


def test_two_behaviours_that_set_off_differently_are_held_apart() -> None:
    """What a Gaussian averages away: of two opposite actions a mixture takes one."""
    torch.manual_seed(0)
    action = torch.where(torch.rand(1, 512, 1) < 0.6, 0.8, -0.8) + 0.05 * torch.randn(1, 512, 1)
    state = torch.ones(1, 512, 2)
    chosen = {}
    for head in ("gaussian", "mixture"):
        made = make_policy(Initialiser([0], "fan-in"), (1, 1), 1, config_of(head, 5))
        optimiser = torch.optim.Adam(made.parameters(), lr=1e-2)
        for _ in range(300):
            optimiser.zero_grad()
            (-made.log_prob(state, action).mean()).backward()  # type: ignore[no-untyped-call]
            optimiser.step()
        chosen[head] = float(made.mode(state).detach()[0, 0, 0])
    assert chosen["mixture"] == pytest.approx(0.8, abs=0.1)
    assert abs(chosen["gaussian"]) < 0.4


def test_seeds_do_not_mix() -> None:
    for head in ("gaussian", "mixture", "deterministic"):
        made, state = policy(head), states(4)
        other = state.clone()
        other[1] += 1.0
        assert torch.equal(made.mode(state)[0], made.mode(other)[0])
        assert not torch.equal(made.mode(state)[1], made.mode(other)[1])


def test_a_deterministic_policy_has_neither_density_nor_noise() -> None:
    made = policy("deterministic")
    assert isinstance(made, DeterministicPolicy)
    assert made.mode(states(4)).abs().max() < 1.0
    assert torch.equal(made.sample(states(4), torch.zeros(SEEDS, 4, 0)), made.mode(states(4)))
    with pytest.raises(TypeError, match="no density"):
        made.log_prob(states(4), torch.zeros(SEEDS, 4, ACTIONS))
    agent = Agent(small_config("spc", "tiny", "backbone=td3bc"), [0], 2, 2)
    PolicyActor(agent)
    with pytest.raises(InvalidInputError, match="--noise: the agent's policy is deterministic"):
        PolicyActor(agent, 0.3)


def test_a_mixture_with_one_component_is_a_gaussian() -> None:
    made = make_policy(Initialiser([3, 4], "fan-in"), (5, 2), ACTIONS, config_of("mixture", 1))
    assert isinstance(made, MixturePolicy)
    state, action = states(9), torch.zeros(SEEDS, 9, ACTIONS)
    log_weight, mean, log_std = made(state)
    assert torch.equal(log_weight, torch.zeros_like(log_weight))
    expected = Independent(Normal(mean[..., 0, :], log_std[..., 0, :].exp()), 1).log_prob(action)
    torch.testing.assert_close(made.log_prob(state, action), expected)
