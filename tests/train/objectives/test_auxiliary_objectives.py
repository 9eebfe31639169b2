"""Objectives of the baselines, each against a slow second implementation, and who learns from them."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from clwm_train.config import ClubConfig, DecoderConfig, L2Config, NetworkConfig, TaskClassifierConfig
from clwm_train.data.sampler import TaskBatch
from clwm_train.kernels.streams import Purpose, RandomStreams
from clwm_train.objectives import L2, Club, Decoder, Objective, Representation, Sizes, TaskClassifier
from clwm_train.objectives.club import SMALLEST_VARIANCE
from clwm_train.training.learner import Learner
from tests.train.helpers import small_config
from tests.train.reference import mlp
from tests.train.training.test_learner import disturb, forward, gradients, make

NETWORK = NetworkConfig(init="fan-in")
SIZES = Sizes((4, 9), tasks=5, observation=3, action=2, z=2)


def example(
    seed: int = 0, *, tasks: int = 3, windows: int = 2, horizon: int = 2, context: int = 4
) -> Representation:
    """Noise in the shapes of a batch of two seeds; the votes want a gradient."""
    generator = torch.Generator().manual_seed(seed)

    def noise(*shape: int) -> Tensor:
        return torch.randn(2, tasks, *shape, generator=generator)

    batch = TaskBatch(
        task=torch.randint(0, SIZES.tasks, (2, tasks), generator=generator),
        context=noise(context, 3 + 2 + 1 + 3),
        observation=noise(windows, horizon + 1, 3),
        action=noise(windows, horizon, 2),
        reward=noise(windows, horizon),
        terminated=torch.zeros(2, tasks, windows, horizon),
        mask=(noise(windows, horizon) > -0.7).float(),
    )
    votes = torch.tanh(noise(context, 2)).requires_grad_()
    draws = RandomStreams(SIZES.seeds).at(Purpose.LATENT_NOISE)
    return Representation(batch, votes, votes.mean(-2), None, None, draws)


def weights_of(objective: Objective) -> dict[str, Tensor]:
    return {name: value.detach() for name, value in objective.named_parameters()}


def test_l2_is_the_squared_norm() -> None:
    """(3, 4) and (0, 2): norms 25 and 4."""
    inputs = example(tasks=2)
    z = torch.tensor([[[3.0, 4.0], [0.0, 2.0]]] * 2)
    loss, figures = L2(L2Config(weight=0.01))(
        Representation(inputs.batch, inputs.votes, z, None, None, inputs.noise)
    )
    assert loss.tolist() == pytest.approx([0.145, 0.145])
    assert figures["norm"].tolist() == pytest.approx([14.5, 14.5])


def club_by_hand(objective: Club, inputs: Representation, seed: int, negatives: str) -> tuple[float, float]:
    """Bound and likelihood, pair by pair."""
    weights, votes = weights_of(objective), inputs.votes.detach()[seed]
    tasks, size = votes.shape[:2]
    bounds, likelihoods = [], []
    for t in range(tasks):
        for k in range(size):
            x = inputs.batch.context[seed, t, k, :5]
            mean, raw = mlp(weights, "network", x, seed).chunk(2)
            variance = torch.log1p(torch.exp(raw)) + SMALLEST_VARIANCE
            normal = torch.distributions.Normal(mean, variance.sqrt())
            likelihoods.append(-float(normal.log_prob(votes[t, k]).mean()) - 0.5 * math.log(2 * math.pi))
            others = votes[t] if negatives == "task" else votes.flatten(0, 1)
            # Twice the log-ratio, averaged over entries: CSRO leaves the factor 1/2 out.
            negative = torch.stack([2 * normal.log_prob(other).mean() for other in others]).mean()
            bounds.append(float(2 * normal.log_prob(votes[t, k]).mean() - negative))
    return float(np.mean(bounds)), float(np.mean(likelihoods))


@pytest.mark.parametrize("negatives", ["task", "batch"])
def test_club_is_the_mean_over_pairs(negatives: str) -> None:
    config = ClubConfig(weight=0.5, negatives=negatives, hidden=(6,))  # type: ignore[arg-type]
    objective = Club(config, NETWORK, SIZES)
    disturb(objective)
    inputs = example()
    loss, figures = objective(inputs)
    for seed in range(2):
        bound, likelihood = club_by_hand(objective, inputs, seed, negatives)
        assert float(figures["bound"][seed]) == pytest.approx(bound, rel=1e-4, abs=1e-5)
        assert float(figures["negative_log_likelihood"][seed]) == pytest.approx(likelihood, rel=1e-4)
        assert float(loss[seed].detach()) == pytest.approx(0.5 * bound + likelihood, rel=1e-4, abs=1e-5)


@given(st.integers(0, 10**6))
def test_a_network_that_ignores_its_input_bounds_the_information_by_zero(seed: int) -> None:
    objective = Club(ClubConfig(hidden=(4,), negatives="batch"), NETWORK, SIZES)
    with torch.no_grad():
        objective.network.head.weight.zero_()
    assert objective(example(seed))[1]["bound"].abs().max() < 1e-4


def test_club_moves_votes_by_the_bound_and_its_network_by_the_likelihood() -> None:
    """Neither gets a trace of the other's gradient."""
    objective = Club(ClubConfig(weight=0.5, hidden=(6,)), NETWORK, SIZES)
    disturb(objective)
    inputs = example()
    loss, _ = objective(inputs)
    parameters = list(objective.parameters())
    of_votes, *of_network = torch.autograd.grad(loss.sum(), [inputs.votes, *parameters])

    mean, raw = objective.network(inputs.batch.context[..., :5]).chunk(2, -1)
    variance = torch.nn.functional.softplus(raw) + SMALLEST_VARIANCE
    error = (inputs.votes - mean).square()
    likelihood = (0.5 * (error / variance + variance.log())).mean((1, 2, 3)).sum()
    expected_network = torch.autograd.grad(likelihood, parameters, retain_graph=True)
    pairs = (inputs.votes.unsqueeze(2) - mean.unsqueeze(3)).square() / variance.unsqueeze(3)
    bound = (pairs.mean(3) - error / variance).mean((1, 2, 3)).sum()
    (expected_votes,) = torch.autograd.grad(0.5 * bound, [inputs.votes])
    torch.testing.assert_close(of_votes, expected_votes, rtol=1e-4, atol=1e-6)
    for ours, expected in zip(of_network, expected_network, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-6)


def test_decoder_is_the_slow_one() -> None:
    config = DecoderConfig(weight=3.0, reward_weight=0.5, hidden=(6,))
    objective = Decoder(config, NETWORK, SIZES)
    disturb(objective)
    inputs = example()
    batch, weights = inputs.batch, weights_of(objective)
    loss, figures = objective(inputs)
    assert 0 < batch.mask.sum() < batch.mask.numel()
    for seed in range(2):
        changes, rewards = [], []
        for t, b, h in torch.cartesian_prod(*(torch.arange(n) for n in batch.reward.shape[1:])).tolist():
            if not batch.mask[seed, t, b, h]:
                continue
            now, following = batch.observation[seed, t, b, h : h + 2]
            x = torch.cat([now, batch.action[seed, t, b, h], inputs.z[seed, t].detach()])
            decoded = mlp(weights, "network", x, seed)
            changes.append(float(((following - now - decoded[:3]) ** 2).mean()))
            rewards.append(float((batch.reward[seed, t, b, h] - decoded[3]) ** 2))
        assert float(figures["observation"][seed]) == pytest.approx(np.mean(changes), rel=1e-4)
        assert float(figures["reward"][seed]) == pytest.approx(np.mean(rewards), rel=1e-4)
        expected = 3.0 * (np.mean(changes) + 0.5 * np.mean(rewards))
        assert float(loss[seed].detach()) == pytest.approx(expected, rel=1e-4)


def test_task_classifier_is_the_slow_one() -> None:
    objective = TaskClassifier(TaskClassifierConfig(weight=2.0, hidden=(6,)), NETWORK, SIZES)
    disturb(objective)
    inputs = example(tasks=6)
    loss, figures = objective(inputs)
    for seed in range(2):
        errors, right = [], []
        for z, task in zip(inputs.z[seed].detach(), inputs.batch.task[seed].tolist(), strict=True):
            logits = mlp(weights_of(objective), "network", z, seed).double().numpy()
            errors.append(np.log(np.exp(logits).sum()) - logits[task])
            right.append(np.argmax(logits) == task)
        assert float(figures["loss"][seed]) == pytest.approx(np.mean(errors), rel=1e-4)
        assert float(figures["accuracy"][seed]) == pytest.approx(np.mean(right))
        assert float(loss[seed].detach()) == pytest.approx(2.0 * np.mean(errors), rel=1e-4)


@pytest.mark.parametrize("method", ["csro", "dora", "unicorn-ss", "decoder", "task-classifier"])
def test_baselines_reach_the_context_encoder_and_their_own_networks_alone(method: str) -> None:
    learner, sampler, streams = make(small_config(method), [0])
    disturb(learner.agent)
    inputs = forward(learner, sampler.batch(0), streams.at(Purpose.LATENT_NOISE, 0))
    for objective in learner.objectives:
        loss, _ = objective(inputs)
        reached = gradients(loss, learner)
        expected = {"agent.context_encoder"}
        if any(True for _ in objective.parameters()):
            position = list(learner.objectives).index(objective)
            expected.add(f"objectives.{position}")
        assert {name for name, is_reached in reached.items() if is_reached} == expected, objective.name


def after_one_update(method: str, *overrides: str) -> tuple[Learner, dict[str, Tensor]]:
    """A learner after one update of the representation, and its parameters before."""
    learner, sampler, streams = make(small_config(method, "tiny", *overrides), [0])
    before = {name: value.detach().clone() for name, value in learner.named_parameters()}
    learner.update(sampler.batch(0), 0, streams)
    return learner, before


@pytest.mark.parametrize(
    ("method", "own"),
    [
        ("csro", "club"),
        ("unicorn-ss", "decoder"),
        ("decoder", "decoder"),
        ("task-classifier", "task_classifier"),
    ],
)
def test_own_networks_learn_at_their_own_rate(method: str, own: str) -> None:
    """The first step of Adam is the learning rate (where the gradient is not tiny)."""
    rate = 0.0123
    learner, before = after_one_update(method, f"objectives.{own}.learning_rate={rate}")
    moved = [
        (value.detach() - before[name]).abs().max()
        for name, value in learner.named_parameters()
        if name.startswith("objectives.") and "network" in name
    ]
    assert moved
    for step in moved:
        assert float(step) == pytest.approx(rate, rel=1e-3)


def test_every_parameter_has_one_optimiser() -> None:
    for method in ("spc", "csro", "unicorn-ss", "task-classifier"):
        learner, _, _ = make(small_config(method), [0])
        found = [
            id(parameter)
            for optimiser in learner.optimisers.values()
            for group in optimiser.param_groups
            for parameter in group["params"]
        ]
        assert sorted(found) == sorted(id(p) for p in learner.parameters() if p.requires_grad), method


def test_a_group_of_seeds_is_what_each_is_alone() -> None:
    """Initial weights and losses of a seed do not depend on the others."""
    inputs = example()
    alone = Sizes((9,), tasks=5, observation=3, action=2, z=2)
    for make_one in (
        lambda sizes: Club(ClubConfig(hidden=(6,)), NETWORK, sizes),
        lambda sizes: Decoder(DecoderConfig(hidden=(6,)), NETWORK, sizes),
        lambda sizes: TaskClassifier(TaskClassifierConfig(hidden=(6,)), NETWORK, sizes),
    ):
        batch = TaskBatch(**{name: value[1:] for name, value in vars(inputs.batch).items()})
        its = Representation(batch, inputs.votes[1:], inputs.z[1:], None, None, copy.copy(inputs.noise))
        torch.testing.assert_close(make_one(SIZES)(inputs)[0][1:], make_one(alone)(its)[0])
