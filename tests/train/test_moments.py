"""The scale of z that policy and critics see."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from clwm_train.moments import RATE, SMALLEST_STD, TaskScale
from tests.train.helpers import small_config
from tests.train.test_learner import make


def test_first_meta_batches_count_the_same_and_seeds_are_apart() -> None:
    scale = TaskScale(2, 3)
    batches = [
        torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(i)) * 0.3 + 1.0 for i in range(20)
    ]
    for z in batches:
        scale.watch(z)
    for seed in range(2):
        rows = torch.cat([z[seed] for z in batches]).double().numpy()
        expected = (rows - rows.mean(0)) / rows.std(0)
        found = torch.cat([scale(z)[seed] for z in batches]).numpy()
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)


def test_old_meta_batches_are_forgotten() -> None:
    scale = TaskScale(1, 1)
    for value in (5.0, 1.0):
        for _ in range(round(10 / RATE)):
            scale.watch(value + torch.tensor([[[-1.0], [1.0]]]))
    torch.testing.assert_close(scale(torch.tensor([[[3.0]]])), torch.tensor([[[2.0]]]), rtol=1e-3, atol=1e-3)


def test_an_entry_that_does_not_vary_is_not_blown_up() -> None:
    scale = TaskScale(1, 2)
    z = torch.tensor([[[0.5, 0.1], [0.5, 0.3]]])
    scale.watch(z)
    found = scale(z + torch.tensor([SMALLEST_STD, 0.0]))
    torch.testing.assert_close(found, torch.tensor([[[1.0, -1.0], [1.0, 1.0]]]), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("method", ["spc", "focal"])
def test_policy_and_critics_see_z_by_its_scale(method: str) -> None:
    learner, sampler, streams = make(small_config(method, "tiny", "iql.standardise_z=true"), [3, 4])
    agent = learner.agent
    for step in range(3):
        batch = sampler.batch(step)
        learner.update(batch, step, streams)
    assert float(agent.iql.task_scale.seen) == 3.0
    assert "iql.task_scale.mean" in agent.state_dict()
    observation = torch.randn(2, 6, agent.observation_size)
    z = torch.rand(2, 6, 3)
    feature = agent.features(agent.normaliser.observation(observation))
    seen = torch.cat([feature, agent.iql.task_scale(z)], -1)
    torch.testing.assert_close(agent.act(observation, z), agent.iql.policy(seen)[0])
    plain, *_ = make(small_config(method, "tiny"), [3, 4])
    assert torch.equal(plain.agent.iql.state(feature, z), torch.cat([feature, z], -1))
