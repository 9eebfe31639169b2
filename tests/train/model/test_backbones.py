"""Backbones: their losses against loops over transitions, and which networks they move."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Mapping, Sequence

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from clwm_data.compiler import BACKEND, compiled
from clwm_train.config import TrainConfig
from clwm_train.model.backbones import TD3BC, Backbone, Transitions, make_backbone
from clwm_train.model.backbones.iql import actor_loss, advantage_weight, critic_loss, value_loss
from clwm_train.model.nn import Initialiser
from tests.train.helpers import small_config
from tests.train.reference import mlp
from tests.train.training.test_learner import make

SEEDS, ACTIONS, WINDOWS, STEPS = (3, 4), 2, 4, 3
INPUTS = (5, 2)


def config_of(backbone: str, *overrides: str) -> TrainConfig:
    return small_config("spc", "tiny", f"backbone={backbone}", *overrides)


def backbone_of(config: TrainConfig) -> Backbone:
    made = make_backbone(Initialiser(SEEDS, "fan-in"), INPUTS, ACTIONS, config)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return made


def transitions() -> Transitions:
    generator = torch.Generator().manual_seed(7)

    def normal(*shape: int) -> Tensor:
        return torch.randn(len(SEEDS), WINDOWS, *shape, generator=generator)

    mask = torch.ones(len(SEEDS), WINDOWS, STEPS)
    mask[:, 0, 1:] = 0.0
    terminated = torch.zeros_like(mask)
    terminated[:, 1, -1] = 1.0
    return Transitions(
        normal(STEPS + 1, sum(INPUTS)), normal(STEPS, ACTIONS).tanh(), normal(STEPS), terminated, mask
    )


def rows(batch: Transitions, seed: int) -> Sequence[tuple[Tensor, Tensor, Tensor, float, float]]:
    """s, a, s', r, done of every transition of a seed that is no padding."""
    return [
        (
            batch.state[seed, n, h],
            batch.action[seed, n, h],
            batch.state[seed, n, h + 1],
            float(batch.reward[seed, n, h]),
            float(batch.terminated[seed, n, h]),
        )
        for n in range(WINDOWS)
        for h in range(STEPS)
        if batch.mask[seed, n, h]
    ]


def leaves(module: nn.Module) -> dict[str, Tensor]:
    return {name: p.detach().clone().requires_grad_(p.requires_grad) for name, p in module.named_parameters()}


def assert_gradients(
    module: nn.Module, weights: Mapping[str, Tensor], loss: Tensor, expected: Tensor
) -> None:
    """The same gradients for all parameters of a module."""
    loss.sum().backward()  # type: ignore[no-untyped-call]
    expected.backward()  # type: ignore[no-untyped-call]
    for name, parameter in module.named_parameters():
        theirs = weights[name].grad
        if not parameter.requires_grad:
            assert parameter.grad is None
            continue
        assert parameter.grad is not None, name
        assert theirs is not None, name
        torch.testing.assert_close(
            parameter.grad, theirs, rtol=1e-4, atol=1e-5, msg=lambda m, n=name: f"{n}: {m}"
        )


def test_iqls_losses_are_its_equations() -> None:
    advantage = torch.tensor([-2.0, 0.0, 3.0], requires_grad=True)
    loss = value_loss(advantage, 0.8)
    torch.testing.assert_close(loss, torch.tensor([0.2 * 4.0, 0.0, 0.8 * 9.0]))
    (gradient,) = torch.autograd.grad(loss.sum(), advantage)
    torch.testing.assert_close(gradient, torch.tensor([-0.8, 0.0, 4.8]))

    q = torch.tensor([[[1.0, 5.0]], [[2.0, 7.0]]]).unsqueeze(0)
    reward, terminated, following = (torch.tensor([[x]]) for x in ([3.0, 3.0], [0.0, 1.0], [10.0, 10.0]))
    expected = [(12.0 - 1.0) ** 2 + (12.0 - 2.0) ** 2, (3.0 - 5.0) ** 2 + (3.0 - 7.0) ** 2]
    torch.testing.assert_close(critic_loss(q, reward, terminated, following, 0.9), torch.tensor([[expected]]))

    weight = advantage_weight(advantage, 3.0, 100.0)
    assert not weight.requires_grad
    torch.testing.assert_close(weight, torch.tensor([math.exp(-6.0), 1.0, 100.0]))
    torch.testing.assert_close(actor_loss(torch.tensor([2.0]), torch.tensor([0.5])), torch.tensor([-1.0]))


def test_the_share_of_clipped_weights_is_counted() -> None:
    batch = transitions()
    shares = {}
    for most in (1e-9, 1.0, 1e9):
        made = backbone_of(config_of("iql", f"iql.max_weight={most}", "iql.inverse_temperature=1.0"))
        shares[most] = made.losses(batch)[1]["clipped"]
        if most == 1.0:
            target_q = made.target_critics(torch.cat([batch.before, batch.action], -1)).squeeze(-1).amin(1)
            advantage = target_q - made.value(batch.before).squeeze(-1)
            expected = [
                float((advantage[seed] >= 0.0)[batch.mask[seed] > 0].float().mean()) for seed in (0, 1)
            ]
            torch.testing.assert_close(shares[most], torch.tensor(expected))
            assert any(0.0 < share < 1.0 for share in expected)
    torch.testing.assert_close(shares[1e-9], torch.ones(2))
    assert torch.equal(shares[1e9], torch.zeros(2))


@pytest.mark.parametrize("policy", ["gaussian", "mixture"])
def test_cloning_maximises_the_likelihood(policy: str) -> None:
    made, batch = backbone_of(config_of("bc", f"policy={policy}")), transitions()
    loss, metrics = made.losses(batch)
    for seed in (0, 1):
        density = made.policy.log_prob(batch.before, batch.action)[seed]
        kept = [density[n, h] for n in range(WINDOWS) for h in range(STEPS) if batch.mask[seed, n, h]]
        torch.testing.assert_close(loss[seed], -torch.stack(kept).mean())
    assert torch.equal(metrics["policy_loss"], loss.detach())
    assert [name for name, _ in made.named_children()] == ["policy"]


def test_td3bc_is_the_paper() -> None:
    """Transition by transition, with gradients: critics from their loss alone, the policy from its own."""
    made, batch = backbone_of(config_of("td3bc", "td3bc.noise_clip=0.3")), transitions()
    config = config_of("td3bc", "td3bc.noise_clip=0.3").td3bc
    assert config is not None
    noise = torch.randn(2, WINDOWS, STEPS, ACTIONS, generator=torch.Generator().manual_seed(8))
    weights = leaves(made)
    fixed = {name: value.detach() for name, value in weights.items()}
    loss, metrics = made.losses(batch, noise)
    total = torch.zeros(())
    for seed in (0, 1):
        kept = iter(noise[seed][batch.mask[seed] > 0])
        critics, q_of_policy, distance = [], [], []
        for state, action, following, reward, done in rows(batch, seed):
            smooth = (config.policy_noise * next(kept)).clamp(-config.noise_clip, config.noise_clip)
            next_action = torch.tanh(mlp(fixed, "target_policy.network.network", following, seed)) + smooth
            pair = torch.cat([following, next_action.clamp(-1.0, 1.0)])
            next_q = min(mlp(fixed, "target_critics.network", pair, 2 * seed + i)[0] for i in (0, 1))
            target = reward + config.discount * (1.0 - done) * next_q
            for i in (0, 1):
                q = mlp(weights, "critics", torch.cat([state, action]), 2 * seed + i)[0]
                critics.append((q - target) ** 2)
            chosen = torch.tanh(mlp(weights, "policy.network", state, seed))
            q_of_policy.append(mlp(fixed, "critics", torch.cat([state, chosen]), 2 * seed)[0])
            distance.append(functional.mse_loss(chosen, action))
        count, q = len(distance), torch.stack(q_of_policy)
        of_critics = torch.stack(critics).sum() / count
        of_policy = -config.alpha * (q / q.detach().abs().mean()).mean() + torch.stack(distance).mean()
        torch.testing.assert_close(metrics["critic_loss"][seed], of_critics.detach(), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(metrics["policy_loss"][seed], of_policy.detach(), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(loss[seed], of_critics + of_policy, rtol=1e-4, atol=1e-5)
        total = total + of_critics + of_policy
    assert_gradients(made, weights, loss, total)


def test_td3bcs_targets_follow() -> None:
    made = backbone_of(config_of("td3bc", "td3bc.target_tau=0.25"))
    assert isinstance(made, TD3BC)
    before = copy.deepcopy(made)
    made.update_targets()
    for old, new, source in (
        (before.target_policy.network, made.target_policy.network, made.policy),
        (before.target_critics.network, made.target_critics.network, made.critics),
    ):
        for was, now, towards in zip(old.parameters(), new.parameters(), source.parameters(), strict=True):
            torch.testing.assert_close(now, 0.75 * was + 0.25 * towards)


@pytest.mark.parametrize(
    ("method", "backbone"),
    [
        *itertools.product(["spc", "focal"], ["iql", "td3bc", "bc"]),
        *((method, "tdmpc2") for method in ("spc", "tdmpc2")),
    ],
)
@pytest.mark.parametrize("backend", [None, "eager"])
def test_every_backbone_learns_with_every_kind_of_context(
    backbone: str, method: str, backend: str | None
) -> None:
    head = "auto" if backbone == "td3bc" else "mixture"
    config = small_config(method, "tiny", f"backbone={backbone}", f"policy={head}")
    learner, sampler, streams = make(config, [3, 4], compiles=backend is not None, backend=backend or BACKEND)
    before = {name: p.detach().clone() for name, p in learner.agent.named_parameters()}
    metrics = [learner.update(sampler.batch(step), step, streams) for step in range(3)]
    assert all(torch.isfinite(value).all() for figures in metrics for value in figures.values())
    assert f"{backbone}/policy_loss" in metrics[0]
    still = [name for name, p in learner.agent.named_parameters() if torch.equal(p, before[name])]
    assert not still


@pytest.mark.parametrize("features", ["codes", "target-codes", "observation", "both"])
def test_policy_and_critics_see_what_is_configured(features: str) -> None:
    learner, sampler, streams = make(small_config("spc", "tiny", f"features={features}"), [3, 4])
    learner.update(sampler.batch(0), 0, streams)  # the target encoder falls behind
    agent, batch = learner.agent, sampler.batch(1)
    assert agent.world_model is not None
    code = agent.world_model.encode(batch.observation)
    target = agent.world_model.target_encoder(batch.observation)
    assert not torch.equal(target, agent.world_model.encoder(batch.observation))
    expected = {
        "codes": code,
        "target-codes": agent.world_model.space(target).detach(),
        "observation": batch.observation,
        "both": torch.cat([batch.observation, code], -1),
    }[features]
    torch.testing.assert_close(agent.features(batch.observation), expected)
    seen, first = learner._encode(batch.observation)
    torch.testing.assert_close(seen, expected)
    assert not seen.requires_grad
    assert first is not None
    torch.testing.assert_close(first, code[..., 0, :])
    assert first.requires_grad
    learner.update(batch, 1, streams)


def test_both_compiled_ways_give_the_same_losses() -> None:
    batch = transitions()
    for backbone in ("iql", "td3bc", "bc"):
        made = backbone_of(config_of(backbone))
        noise = torch.ones(2, WINDOWS, STEPS, made.noise_size) if made.noise_size else None
        losses = compiled(made.losses, "eager")(batch, noise)
        torch.testing.assert_close(losses[0], made.losses(batch, noise)[0])
