"""TD-MPC2: its losses against loops over windows and steps, with dense distributions over bins."""

from __future__ import annotations

import copy
import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from clwm_train.config import TrainConfig
from clwm_train.data.sampler import TaskBatch
from clwm_train.kernels.streams import Purpose
from clwm_train.model.backbones import TDMPC2, Transitions, make_backbone
from clwm_train.model.backbones.tdmpc2 import percentile
from clwm_train.model.nn import Initialiser
from clwm_train.objectives import Representation
from clwm_train.training.learner import Learner
from tests.train.helpers import small_config
from tests.train.model.test_backbones import INPUTS, assert_gradients, backbone_of, leaves, transitions
from tests.train.reference import decoded, entropy_of, mlp, simnorm
from tests.train.training.test_learner import disturb, make, train

SEEDS = (3, 4)
CRITICS = 3


def config_of(*overrides: str) -> TrainConfig:
    sizes = (f"tdmpc2.critics={CRITICS}", "tdmpc2.bins=11", "world_model.reward_bins=9")
    return small_config("tdmpc2", "tiny", *sizes, *overrides)


def made_of(config: TrainConfig) -> TDMPC2:
    made = backbone_of(config)
    assert isinstance(made, TDMPC2)
    return made


def noise_for(made: TDMPC2, batch: Transitions) -> Tensor:
    shape = (*batch.mask.shape, made.noise_size)
    return torch.randn(shape, generator=torch.Generator().manual_seed(8))


def two_largest(numbers: Tensor) -> list[int]:
    return sorted(range(len(numbers)), key=lambda i: -float(numbers[i]))[:2]


def act(made: TDMPC2, state: Tensor, noise: Tensor, seed: int) -> Tensor:
    """A sampled action in one state."""
    every = state.expand(2, *state.shape)
    return made.policy.sample(every, noise.expand(2, *noise.shape))[seed]


@pytest.mark.parametrize("bins", ["11", "null"])
def test_targets_are_the_lower_of_two_critics_and_end_with_the_episode(bins: str) -> None:
    made, batch = made_of(config_of(f"tdmpc2.bins={bins}")), transitions()
    two_hot = bins != "null"

    def value_of(output: Tensor) -> float:
        return float(decoded(output) if two_hot else output)

    def error_of(output: Tensor, target: float) -> float:
        return float(entropy_of(output, target)) if two_hot else (float(output) - target) ** 2

    noise = noise_for(made, batch)
    weights = {name: p.detach() for name, p in made.named_parameters()}
    error = made.critic_error(batch.before, batch, noise).detach()
    ended, drawn = 0, set()
    for seed, n, h in itertools.product((0, 1), range(4), range(3)):
        following = batch.state[seed, n, h + 1]
        action = act(made, following, noise[seed, n, h, :2], seed).detach()
        pair = torch.cat([following, action])
        two = two_largest(noise[seed, n, h, 4:])
        q = [
            value_of(mlp(weights, "target_critics.network", pair, CRITICS * seed + critic)) for critic in two
        ]
        done = bool(batch.terminated[seed, n, h])
        target = float(batch.reward[seed, n, h]) + (0.0 if done else 0.99 * min(q))
        ended += done
        drawn.add(tuple(sorted(two)))
        pair = torch.cat([batch.state[seed, n, h], batch.action[seed, n, h]])
        by_hand = [
            error_of(mlp(weights, "critics", pair, CRITICS * seed + critic), target)
            for critic in range(CRITICS)
        ]
        assert float(error[seed, n, h]) == pytest.approx(sum(by_hand) / CRITICS, rel=1e-4)
    assert ended == 2
    assert len(drawn) == 3  # different critics in different transitions


@pytest.mark.parametrize("head", ["gaussian", "mixture"])
def test_the_policy_maximises_scaled_values_and_imitates(head: str) -> None:
    config = config_of(
        f"policy.head={head}",
        "policy.log_std_min=-1.0",
        "tdmpc2.imitation_weight=0.3",
        "tdmpc2.entropy_weight=0.01",
        "tdmpc2.rho=0.7",
        "tdmpc2.inverse_temperature=2.0",
    )
    made, batch = made_of(config), transitions()
    made.scale.copy_(torch.tensor([0.4, 3.0]))
    noise = noise_for(made, batch)
    weights = leaves(made)
    fixed = {name: value.detach() for name, value in weights.items()}
    loss, metrics = made.losses(batch, noise)
    size = made.policy.noise_size
    reference, q_first = copy.deepcopy(made), [[], []]  # type: ignore[var-annotated]

    def value(seed: int, state: Tensor, action: Tensor) -> Tensor:
        pair = torch.cat([state, action])
        all_q = [decoded(mlp(fixed, "critics", pair, CRITICS * seed + critic)) for critic in range(CRITICS)]
        return torch.stack(all_q).mean()

    states = batch.before
    chosen = reference.policy.sample(states, noise[..., size : 2 * size])
    entropy = -reference.policy.log_prob(states, chosen)
    likelihood = reference.policy.log_prob(states, batch.action)
    for seed, n in itertools.product((0, 1), range(4)):
        q_first[seed].append(float(value(seed, states[seed, n, 0], chosen[seed, n, 0]).detach()))
    spread = [np.percentile(row, 95) - np.percentile(row, 5) for row in q_first]
    running = [0.99 * old + 0.01 * new for old, new in zip((0.4, 3.0), spread, strict=True)]
    np.testing.assert_allclose(made.scale.numpy(), running, rtol=1e-4)
    total = torch.zeros(())
    for seed in (0, 1):
        terms = []
        for n, h in itertools.product(range(4), range(3)):
            if not batch.mask[seed, n, h]:
                continue
            q = value(seed, states[seed, n, h], chosen[seed, n, h])
            scale = max(1.0, running[seed])
            advantage = value(seed, states[seed, n, h], batch.action[seed, n, h]) - q
            weight = min(math.exp(2.0 * float(advantage)), 100.0)
            gain = q / scale + 0.01 * 2 * entropy[seed, n, h] + 0.3 * weight * likelihood[seed, n, h]
            terms.append(-(0.7**h) * gain)
        expected = torch.stack(terms).mean()
        torch.testing.assert_close(loss[seed], expected, rtol=1e-4, atol=1e-5)
        total = total + expected
    assert torch.equal(metrics["policy_loss"], loss.detach())
    mine = {f"policy.{name}": p for name, p in reference.policy.named_parameters()}
    weights |= mine
    for parameter in made.parameters():
        if parameter.requires_grad and not any(parameter is p for p in made.policy.parameters()):
            assert parameter.grad is None
    assert_gradients(made.policy, {name.removeprefix("policy."): p for name, p in mine.items()}, loss, total)


@pytest.mark.parametrize("count", [1, 2, 7, 100])
@pytest.mark.parametrize("share", [0.0, 0.05, 0.5, 0.95, 1.0])
def test_percentiles_are_numpys(count: int, share: float) -> None:
    values = torch.randn(3, count, generator=torch.Generator().manual_seed(0))
    np.testing.assert_allclose(
        percentile(values, share).numpy(), np.percentile(values.numpy(), 100 * share, axis=1), rtol=1e-5
    )


def joint(learner: Learner, batch: TaskBatch) -> tuple[Tensor, dict[str, Tensor], Tensor]:
    """Loss and metrics of the joint objective at update 0, and the noise of the backbone."""
    agent: Any = learner.agent
    z = agent.context_encoder.embed(batch.context).mean(-2)
    features, first = learner._encode(batch.observation)
    _, *_, streams = make(config_of(), SEEDS)
    noise = learner._backbone_noise(batch, 0, streams)
    assert noise is not None
    error = learner._critic_error(batch, features, z.detach(), noise)
    draws = streams.at(Purpose.LATENT_NOISE, 0)
    inputs = Representation(batch, z.unsqueeze(-2), z, agent.world_model, first, draws, error)
    loss, metrics = learner.objectives[0](inputs)
    return loss, metrics, noise


def test_the_joint_loss_and_its_gradients_are_loops_over_windows() -> None:
    config = config_of("objectives.infonce=null")
    learner, sampler, _ = make(config, SEEDS)
    disturb(learner.agent)
    agent: Any = learner.agent
    batch = sampler.batch(0)
    assert batch.terminated.sum() > 0
    assert 0 < batch.mask.sum() < batch.mask.numel()
    weights = leaves(agent)
    loss, metrics, noise = joint(learner, batch)
    noise = noise.view(2, 4, 3, 3, -1)
    total = torch.zeros(())
    group = config.world_model.simnorm_group  # type: ignore[union-attr]

    def encode(observation: Tensor, seed: int, name: str = "encoder") -> Tensor:
        return simnorm(mlp(weights, f"world_model.{name}", observation, seed), group)

    for seed in (0, 1):
        sums = dict.fromkeys(("consistency", "reward", "termination", "value"), torch.zeros(()))
        count = 0
        for t, b in itertools.product(range(4), range(3)):
            x = batch.context[seed, t]
            z = torch.tanh(mlp(weights, "context_encoder.network", x, seed)).mean(0)
            code = encode(batch.observation[seed, t, b, 0], seed)
            for h in range(3):
                action, reward = batch.action[seed, t, b, h], float(batch.reward[seed, t, b, h])
                done = float(batch.terminated[seed, t, b, h])
                inputs = torch.cat([code, action, z])
                following = simnorm(mlp(weights, "world_model.dynamics", inputs, seed), group)
                inside = bool(batch.mask[seed, t, b, h]) and not batch.terminated[seed, t, b, :h].any()
                if inside:
                    count += 1
                    with torch.no_grad():
                        seen = batch.observation[seed, t, b, h + 1]
                        target = encode(seen, seed, "target_encoder.network")
                        state = torch.cat([encode(seen, seed), z])
                        numbers = noise[seed, t, b, h]
                        a = act(agent.backbone, state, numbers[:2], seed)
                        q = min(
                            decoded(
                                mlp(
                                    weights,
                                    "backbone.target_critics.network",
                                    torch.cat([state, a]),
                                    CRITICS * seed + critic,
                                )
                            )
                            for critic in two_largest(numbers[4:])
                        )
                        y = reward + 0.99 * (1.0 - done) * float(q)
                    logit = mlp(weights, "world_model.termination_head", inputs, seed)[0]
                    pair = torch.cat([code, z, action])
                    of_critics = [
                        entropy_of(mlp(weights, "backbone.critics", pair, CRITICS * seed + critic), y)
                        for critic in range(CRITICS)
                    ]
                    terms = {
                        "consistency": (following - target).square().mean(),
                        "reward": entropy_of(mlp(weights, "world_model.reward_head", inputs, seed), reward),
                        "termination": -functional.logsigmoid(logit if done else -logit),
                        "value": torch.stack(of_critics).mean(),
                    }
                    sums = {name: sums[name] + 0.5**h * term for name, term in terms.items()}
                code = following
        assert count > 0
        for name, value in sums.items():
            torch.testing.assert_close(metrics[name][seed], (value / count).detach(), rtol=1e-4, atol=1e-5)
        weighted = {"consistency": 20.0, "reward": 0.1, "termination": 1.0, "value": 0.1}
        expected = sum((weighted[name] * value / count for name, value in sums.items()), torch.zeros(()))
        torch.testing.assert_close(loss[seed], expected, rtol=1e-4, atol=1e-5)
        total = total + expected
    loss.sum().backward()  # type: ignore[no-untyped-call]
    total.backward()  # type: ignore[no-untyped-call]
    reached = set()
    for name, parameter in agent.named_parameters():
        theirs = weights[name].grad
        assert (parameter.grad is None) == (theirs is None), name
        if theirs is not None:
            torch.testing.assert_close(parameter.grad, theirs, rtol=1e-3, atol=1e-5)
            reached.add(".".join(name.split(".")[:2]))
    parts = {f"world_model.{name}" for name in ("encoder", "dynamics", "reward_head", "termination_head")}
    assert reached == {*parts, "context_encoder.network", "backbone.critics"}


def test_an_update_moves_every_network_each_by_its_own_optimiser() -> None:
    learner, sampler, streams = make(config_of(), SEEDS)
    before = {name: p.detach().clone() for name, p in learner.agent.named_parameters()}
    train(learner, sampler, streams, 4)
    assert not [name for name, p in learner.agent.named_parameters() if torch.equal(p, before[name])]
    assert set(learner.optimisers) == {"backbone", "critics", "context_encoder", "world_model"}
    rates = [group["lr"] for group in learner.optimisers["world_model"].param_groups]
    assert rates == pytest.approx([0.3 * 3e-4, 3e-4])
    named = {id(p): name for name, p in learner.agent.named_parameters()}
    (encoder, _) = learner.optimisers["world_model"].param_groups
    assert {named[id(p)].split(".")[1] for p in encoder["params"]} == {"encoder"}


def test_the_target_of_the_consistency_is_the_encoder_itself() -> None:
    learner, sampler, streams = make(config_of(), SEEDS)
    train(learner, sampler, streams, 2)
    model: Any = learner.agent.world_model
    for mine, theirs in zip(
        model.encoder.parameters(), model.target_encoder.network.parameters(), strict=True
    ):
        torch.testing.assert_close(mine, theirs, rtol=0.0, atol=1e-7)


@pytest.mark.parametrize("bins", ["11", "null"])
def test_values_are_learned(bins: str) -> None:
    """One state, its reward is 1 and it goes on for ever: Q = 1 / (1 - gamma)."""
    made = made_of(config_of("tdmpc2.discount=0.5", "tdmpc2.target_tau=0.2", f"tdmpc2.bins={bins}"))
    batch = Transitions(
        torch.zeros(2, 4, 2, 7), torch.zeros(2, 4, 1, 2), torch.ones(2, 4, 1), torch.zeros(2, 4, 1),
        torch.ones(2, 4, 1),
    )  # fmt: skip
    optimiser = torch.optim.Adam(made.critics.parameters(), lr=0.02)
    generator = torch.Generator().manual_seed(0)
    for _ in range(300):
        noise = torch.randn(2, 4, 1, made.noise_size, generator=generator)
        batch = Transitions(batch.state, noise[..., :2].tanh(), batch.reward, batch.terminated, batch.mask)
        error = made.critic_error(batch.before, batch, noise)
        optimiser.zero_grad()
        error.sum().backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        made.update_targets()
    q = made.action_value(batch.before, batch.action)
    torch.testing.assert_close(q, torch.full_like(q, 2.0), atol=0.15, rtol=0.0)


@pytest.mark.parametrize(
    ("overrides", "low", "high"),
    [
        (("tdmpc2.imitation_weight=0.0",), 0.3, 0.85),
        (("tdmpc2.imitation_weight=1.0", "tdmpc2.inverse_temperature=0.0"), -0.1, 0.25),
        (("tdmpc2.imitation_weight=1.0", "tdmpc2.inverse_temperature=3.0"), 0.3, 0.85),
    ],
)
def test_the_policy_finds_the_better_actions(overrides: tuple[str, ...], low: float, high: float) -> None:
    """One step from one state, r = -10 |a - 0.5|^2, all actions equally often: values pull the policy to
    0.5, plain imitation holds it at the data's mean 0, weighted imitation follows the better actions.
    """
    config = config_of("tdmpc2.bins=101", "tdmpc2.hidden=[32]", *overrides)
    made: Any = make_backbone(Initialiser(SEEDS, "fan-in"), INPUTS, 2, config)
    generator = torch.Generator().manual_seed(0)
    state, end = torch.zeros(2, 64, 2, 7), torch.ones(2, 64, 1)

    def learn(network: torch.nn.Module, rate: float, of_critics: bool) -> None:
        optimiser = torch.optim.Adam(network.parameters(), lr=rate)
        for _ in range(250):
            action = 2.0 * torch.rand(2, 64, 1, 2, generator=generator) - 1.0
            batch = Transitions(state, action, -10.0 * (action - 0.5).square().mean(-1), end, end)
            noise = torch.randn(2, 64, 1, made.noise_size, generator=generator)
            loss = (
                made.critic_error(batch.before, batch, noise) if of_critics else made.losses(batch, noise)[0]
            )
            optimiser.zero_grad()
            loss.sum().backward()  # type: ignore[no-untyped-call]
            optimiser.step()

    learn(made.critics, 0.01, True)
    learn(made.policy, 0.01, False)
    mode = made.policy.mode(state[:, 0, 0])
    assert ((mode > low) & (mode < high)).all(), mode
