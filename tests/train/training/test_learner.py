from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from clwm_data.compiler import BACKEND, Backend
from clwm_train.config import TrainConfig
from clwm_train.data.sampler import TaskBatch, TaskBatchSampler
from clwm_train.data.task_data import load_task_data
from clwm_train.kernels.streams import Purpose, RandomStreams
from clwm_train.model.agent import Agent
from clwm_train.model.backbones import IQL
from clwm_train.objectives import Representation, TemporalConsistency
from clwm_train.training.learner import Learner
from tests.train import reference
from tests.train.helpers import random_task, small_config

TASKS = {
    0: random_task(0, [4, 2, 1], terminated=[True, False, True]),
    1: random_task(1, [1, 4, 2, 2], terminated=[True, False, True, False]),
    2: random_task(2, [5, 2, 1]),
    3: random_task(3, [5], split="id"),
}


def make(
    config: TrainConfig, seeds: Sequence[int], *, compiles: bool = False, backend: Backend = BACKEND
) -> tuple[Learner, TaskBatchSampler, RandomStreams]:
    data = load_task_data(TASKS, config.data)
    agent = Agent(config, seeds, 2, 2, np.eye(len(TASKS), dtype=np.float32))
    tasks = [data.tasks[place] for place in data.positions("train")]
    return (
        Learner(config, agent, tasks, compiles=compiles, backend=backend),
        TaskBatchSampler(data, config.batch, seeds, next_observation=agent.next_observation),
        RandomStreams(seeds),
    )


def train(learner: Learner, sampler: TaskBatchSampler, streams: RandomStreams, steps: int) -> list[Any]:
    return [learner.update(sampler.batch(step), step, streams) for step in range(steps)]


def disturb(module: torch.nn.Module) -> None:
    """Weights at which nothing is zero by accident, and targets that differ from their networks."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))


def forward(learner: Learner, batch: TaskBatch, noise: Any) -> Representation:
    agent = learner.agent
    votes = agent.context_encoder.embed(batch.context)
    code = None if agent.world_model is None else agent.features(batch.observation[..., 0, :])
    return Representation(batch, votes, votes.mean(-2), agent.world_model, code, noise)


@pytest.mark.parametrize("transitions", ["all", "first"])
def test_losses_and_gradients_are_the_reference_implementations(transitions: str) -> None:
    config = small_config("spc", "tiny", f"iql.transitions={transitions}", "objectives.infonce=null")
    learner, sampler, streams = make(config, [3, 4])
    disturb(learner.agent)
    batch = sampler.batch(0)
    assert 0 < batch.mask.sum() < batch.mask.numel()
    assert batch.terminated.sum() > 0

    inputs = forward(learner, batch, streams.at(Purpose.LATENT_NOISE, 0))
    loss, _ = learner.objectives[0](inputs)
    learner.zero_grad()
    loss.sum().backward()
    ours = {name: p.grad for name, p in learner.agent.named_parameters() if p.grad is not None}

    draws = streams.at(Purpose.LATENT_NOISE, 0)
    noise = [draws.gumbel(4, 3, 6, 4).transpose(-1, -2) for _ in range(2)]
    weights = {name: p.detach().clone().requires_grad_() for name, p in learner.agent.named_parameters()}
    expected = []
    for seed in range(2):
        z = reference.infer(weights, batch, seed)
        torch.testing.assert_close(inputs.z[seed], z)
        own = [step[seed] for step in noise]
        expected.append(reference.world_model_loss(weights, config, batch, z, own, seed))
    torch.testing.assert_close(loss, torch.stack(expected), rtol=1e-5, atol=1e-5)
    sum(expected).backward()  # type: ignore[union-attr]
    theirs = {name: p.grad for name, p in weights.items() if p.grad is not None}
    assert ours.keys() == theirs.keys()
    for name, gradient in theirs.items():
        torch.testing.assert_close(
            ours[name], gradient, rtol=1e-4, atol=1e-5, msg=lambda m, n=name: f"{n}: {m}"
        )

    _, metrics = learner._backbone_losses(
        batch, learner.agent.features(batch.observation).detach(), inputs.z.detach(), None
    )
    for seed in range(2):
        z = inputs.z[seed].detach()
        with torch.no_grad():
            for name, value in reference.iql_loss(weights, config, batch, z, seed).items():
                torch.testing.assert_close(metrics[f"iql/{name}"][seed], value, rtol=1e-5, atol=1e-5)


def test_each_seed_of_a_group_is_what_it_is_alone() -> None:
    config = small_config()
    group, *rest = make(config, [7, 3])
    alone, *rest_alone = make(config, [3])
    figures, figures_alone = train(group, *rest, 6), train(alone, *rest_alone, 6)
    for step in range(6):
        assert figures[step].keys() == figures_alone[step].keys()
        for name, value in figures[step].items():
            torch.testing.assert_close(value[1:], figures_alone[step][name], rtol=1e-4, atol=1e-5)
    for (name, mine), (_, its) in zip(group.named_parameters(), alone.named_parameters(), strict=True):
        share = mine[len(mine) // 2 :]
        torch.testing.assert_close(share, its, rtol=1e-3, atol=1e-5, msg=lambda m, n=name: f"{n}: {m}")
        assert not torch.equal(mine[: len(mine) // 2], share) or torch.equal(mine, torch.zeros_like(mine))


def test_initial_weights_do_not_depend_on_the_other_seeds() -> None:
    config = small_config()
    group, alone = Agent(config, [1, 2, 3], 2, 2), Agent(config, [3], 2, 2)
    for mine, its in zip(group.parameters(), alone.parameters(), strict=True):
        assert torch.equal(mine[2 * len(mine) // 3 :], its)


def gradients(loss: Tensor, module: torch.nn.Module) -> Mapping[str, bool]:
    """Which direct parts of a module a loss reaches."""
    parts: dict[str, bool] = {}
    names, parameters = zip(*module.named_parameters(), strict=True)
    kept = [p for p in parameters if p.requires_grad]
    found = iter(torch.autograd.grad(loss.sum(), kept, allow_unused=True, retain_graph=True))
    for name, parameter in zip(names, parameters, strict=True):
        gradient = next(found) if parameter.requires_grad else None
        part = ".".join(name.split(".")[:2])
        parts[part] = parts.get(part, False) or (gradient is not None and bool(gradient.abs().sum() > 0))
    return parts


def test_temporal_consistency_reaches_the_context_encoder_through_z() -> None:
    learner, sampler, streams = make(small_config(), [0])
    batch = sampler.batch(0)
    inputs = forward(learner, batch, streams.at(Purpose.LATENT_NOISE, 0))
    objective = learner.objectives[0]
    assert isinstance(objective, TemporalConsistency)
    reached = gradients(objective(inputs)[0], learner.agent)
    assert {name for name, is_reached in reached.items() if is_reached} == {
        "context_encoder.network",
        "world_model.encoder",
        "world_model.dynamics",
        "world_model.reward_head",
    }


def test_contrast_reaches_the_context_encoder_alone() -> None:
    for method in ("spc", "focal"):
        learner, sampler, streams = make(small_config(method), [0])
        train(learner, sampler, streams, 2)
        inputs = forward(learner, sampler.batch(2), streams.at(Purpose.LATENT_NOISE, 2))
        reached = gradients(learner.objectives[-1](inputs)[0], learner.agent)
        assert {name for name, is_reached in reached.items() if is_reached} == {"context_encoder.network"}


def test_iql_touches_neither_encoder_nor_context_encoder_and_targets_follow() -> None:
    config = small_config("spc", "tiny", "representation_every=1000")
    learner, sampler, streams = make(config, [0])
    learner.update(sampler.batch(0), 0, streams)
    before = {name: value.clone() for name, value in learner.agent.state_dict().items()}
    learner.update(sampler.batch(1), 1, streams)
    changed = {
        ".".join(name.split(".")[:2])
        for name, value in learner.agent.state_dict().items()
        if not torch.equal(value, before[name])
    }
    assert changed == {"backbone.policy", "backbone.value", "backbone.critics", "backbone.target_critics"}
    state = learner.agent.state_dict()
    assert config.iql is not None
    name = "head.weight"
    expected = torch.lerp(
        before[f"backbone.target_critics.network.{name}"],
        state[f"backbone.critics.{name}"],
        config.iql.target_tau,
    )
    torch.testing.assert_close(state[f"backbone.target_critics.network.{name}"], expected)


def test_the_target_encoder_follows_the_encoder() -> None:
    config = small_config("spc", "tiny", "world_model.target_tau=0.25")
    learner, sampler, streams = make(config, [0])
    world_model = learner.agent.world_model
    assert world_model is not None
    start = world_model.encoder.head.weight.detach().clone()
    learner.update(sampler.batch(0), 0, streams)
    expected = 0.75 * start + 0.25 * world_model.encoder.head.weight
    torch.testing.assert_close(world_model.target_encoder.network.head.weight, expected)
    assert not any(p.requires_grad for p in world_model.target_encoder.parameters())


def test_padding_carries_no_weight() -> None:
    """Whatever stands in the padding, figures and updates are the same."""
    results = []
    for filler in (0.0, 1e6):
        learner, sampler, streams = make(small_config(), [0])
        batch = sampler.batch(0)
        padded = batch.mask == 0
        assert padded.any()
        reward = batch.reward.masked_fill(padded, filler)
        action = batch.action.masked_fill(padded.unsqueeze(-1), filler)
        fields = {**vars(batch), "reward": reward, "action": action}
        learner.update(TaskBatch(**fields), 0, streams)
        results.append(learner.agent.state_dict())
    for name, value in results[0].items():
        assert torch.equal(value, results[1][name]), name


@pytest.mark.parametrize(
    ("latent", "consistency"),
    [
        ("continuous", "mse"),
        ("continuous", "cosine"),
        ("simnorm", "mse"),
        ("simnorm", "cosine"),
        ("discrete", "mse"),
        ("discrete", "cosine"),
        ("discrete", "cross-entropy"),
    ],
)
def test_every_formulation_learns_to_predict(latent: str, consistency: str) -> None:
    config = small_config(
        "spc",
        "tiny",
        f"world_model.latent={latent}",
        f"world_model.consistency={consistency}",
        "world_model.simnorm_group=2",
        "world_model.learning_rate=0.01",
        "representation_every=1",
    )
    learner, sampler, streams = make(config, [0])
    figures = train(learner, sampler, streams, 60)
    losses = [
        float(f["temporal_consistency/consistency"]) + float(f["temporal_consistency/reward"])
        for f in figures
    ]
    assert sum(losses[-10:]) < 0.8 * sum(losses[:10])


def test_focal_learns_on_raw_observations() -> None:
    learner, sampler, streams = make(small_config("focal"), [0])
    assert learner.agent.world_model is None
    backbone = learner.agent.backbone
    assert isinstance(backbone, IQL)
    assert backbone.value.norms is not None
    assert len(backbone.value.norms) == 0
    figures = train(learner, sampler, streams, 3)
    assert "focal/different" in figures[0]
    assert "focal/different" not in figures[1]
