"""The update is the straightforward implementation of bench/reference.py, only quicker."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cache

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from bench.reference import Reference, as_batch, copy_weights, matched, member_tensors
from clwm_data.compiler import BACKEND
from clwm_train.kernels.streams import Purpose, RandomStreams
from clwm_train.model.backbones import IQL
from clwm_train.training.precision import Precision, matmul_precision
from tests.train.helpers import small_config
from tests.train.training.test_learner import disturb, make

NAMES = {
    "consistency": "temporal_consistency/consistency",
    "reward": "temporal_consistency/reward",
    "infonce": "infonce/loss",
    "value_loss": "iql/value_loss",
    "critic_loss": "iql/critic_loss",
    "policy_loss": "iql/policy_loss",
}


def gumbel_softmax(draws: Iterator[Tensor]) -> object:
    """``F.gumbel_softmax`` with the noise handed to it."""

    def draw(logits: Tensor, *, tau: float, hard: bool) -> Tensor:
        assert hard
        soft = ((logits + next(draws)) / tau).softmax(-1)
        one_hot = functional.one_hot(soft.argmax(-1), logits.shape[-1]).float()
        return one_hot - soft.detach() + soft

    return draw


@pytest.mark.parametrize(
    ("seeds", "temperature", "backend"),
    [
        *(([3, 4][:members], temperature, None) for members in (1, 2) for temperature in (1.0, 0.5)),
        # Tracing takes seconds, and neither depends on the other. "inductor": tests/cli/test_compiled.py
        *(([3], 1.0, "eager"), ([3, 4], 0.5, "eager")),
    ],
)
def test_update_is_the_straightforward_one(seeds: list[int], temperature: float, backend: str | None) -> None:
    assert_straightforward(seeds, temperature, backend)


def assert_straightforward(seeds: list[int], temperature: float, backend: str | None) -> None:
    """The first update has the reference's losses and gradients, whatever compiles it (None: nothing)."""
    config = small_config("spc", "tiny", f"world_model.temperature={temperature}")
    learner, sampler, streams = make(config, seeds, compiles=backend is not None, backend=backend or BACKEND)
    disturb(learner.agent)
    batch = sampler.batch(0)
    assert 0 < batch.mask.sum() < batch.mask.numel()
    assert batch.terminated.sum() > 0
    references = []
    for seed in range(len(seeds)):
        references.append(Reference(config, 2, 2, 3))
        copy_weights(references[-1], learner.agent, seed)

    figures = learner.update(batch, 0, streams)
    model = config.world_model
    assert model is not None
    for seed, reference in enumerate(references):
        draws = RandomStreams(seeds).at(Purpose.LATENT_NOISE, 0)
        shape = (config.batch.tasks, config.batch.windows, math.prod(model.levels), model.latent_dim)
        noise = iter([draws.gumbel(*shape)[seed].transpose(-1, -2) for _ in range(config.batch.horizon - 1)])
        expected = reference.update(
            as_batch(vars(batch), seed), represent=True, gumbel_softmax=gumbel_softmax(noise)
        )
        for name, value in expected.items():
            assert float(figures[NAMES[name]][seed]) == pytest.approx(value, rel=1e-5, abs=1e-6), name
        for ours, theirs, member in matched(reference, learner.agent, seed):
            if not next(theirs.parameters()).requires_grad:
                continue
            codes = reference.codes if ours is reference.dynamics else 1
            found = member_tensors(theirs, member, codes=codes, gradient=True)
            for parameter, gradient in zip(ours.parameters(), found, strict=True):
                assert parameter.grad is not None
                scale = float(parameter.grad.abs().max())
                torch.testing.assert_close(gradient, parameter.grad, rtol=1e-4, atol=1e-4 * scale)


@cache
def losses(precision: Precision, backend: str | None) -> dict[str, Tensor]:
    """Of the first update of two seeds."""
    config = small_config("spc", "tiny", f"precision={precision}", "world_model.dynamics_hidden=[64, 32]")
    learner, sampler, streams = make(config, [3, 4], compiles=backend is not None, backend=backend or BACKEND)
    disturb(learner.agent)
    with matmul_precision(config.precision):
        found = learner.update(sampler.batch(0), 0, streams)
    assert all(parameter.dtype == torch.float32 for parameter in learner.parameters())
    return found


@pytest.mark.parametrize(("precision", "backend"), [("mixed", None), ("bf16", None), ("bf16", "eager")])
def test_other_precisions_stay_near_single_precision(precision: Precision, backend: str | None) -> None:
    single = losses("fp32", backend)
    for name, value in losses(precision, backend).items():
        torch.testing.assert_close(value, single[name], rtol=0.05, atol=0.05, msg=name)
    assert torch.get_float32_matmul_precision() == "highest"


@pytest.mark.parametrize("method", ["spc", "focal"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_seeds_trained_together_are_what_they_are_alone(method: str, precision: str) -> None:
    """Sums may round differently in a batched product, so the test is of a few updates, and close."""
    config = small_config(method, "tiny", f"precision={precision}")
    group, *rest = make(config, [5, 6, 7])
    alone, *rest_alone = make(config, [7])
    for step in range(4):
        figures = group.update(rest[0].batch(step), step, rest[1])
        figures_alone = alone.update(rest_alone[0].batch(step), step, rest_alone[1])
        for name, value in figures_alone.items():
            torch.testing.assert_close(figures[name][2:], value, rtol=1e-4, atol=1e-5, msg=name)


def test_values_are_not_rounded_to_bfloat16() -> None:
    """Q of 50 and more differ between actions by less than the spacing of bfloat16 there, a quarter."""
    learner, *_ = make(small_config("spc", "tiny", "precision=bf16", "iql.hidden=[64]"), [3])
    assert isinstance(learner.agent.backbone, IQL)
    value = learner.agent.backbone.value
    assert value.layers[0].bf16
    with torch.no_grad():
        value.head.bias.fill_(50.0)
        found = value(torch.randn(1, 200, value.layers[0].weight.shape[1]))
    assert (found.bfloat16().float() != found).float().mean() > 0.9
