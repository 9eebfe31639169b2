"""What learns when, and how fast."""

from __future__ import annotations

import pytest
import torch

from clwm_train.learner import IQL
from clwm_train.pace import FULL, Pace, pace
from tests.train.helpers import small_config
from tests.train.test_learner import make


def test_learning_rates_fall_as_described() -> None:
    """Worked by hand: 100 updates, the representation in the first 60, falling over the last half of each."""
    config = small_config("spc", "tiny", "representation_share=0.6", "learning_rate_decay=0.5")
    found = {step: pace(config, step, 100) for step in (0, 30, 45, 50, 59, 60, 75, 99)}
    assert found[0] == found[30] == FULL == Pace(1.0, 1.0)
    assert found[45] == Pace(0.5, 1.0)
    assert found[50] == Pace(pytest.approx(1 / 3), 1.0)
    assert found[59] == Pace(pytest.approx(1 / 30), pytest.approx(0.82))
    assert found[60] == Pace(0.0, pytest.approx(0.8))
    assert found[75] == Pace(0.0, 0.5)
    assert found[99] == Pace(0.0, pytest.approx(0.02))


@pytest.mark.parametrize("preset", ["paper", "tiny"])
def test_the_published_pace_is_even(preset: str) -> None:
    config = small_config("spc", preset)
    assert {pace(config, step, 1000) for step in (0, 1, 500, 999)} == {FULL}


@pytest.mark.parametrize("method", ["spc", "csro"])
def test_the_representation_stands_still_when_its_time_is_over(method: str) -> None:
    learner, sampler, streams = make(small_config(method), [3, 4])
    learner.update(sampler.batch(0), 0, streams)
    before = {name: value.clone() for name, value in learner.state_dict().items()}
    figures = learner.update(sampler.batch(2), 2, streams, Pace(0.0, 1.0))
    assert all(name.startswith("iql/") for name in figures)
    changed = {name for name, value in learner.state_dict().items() if not torch.equal(value, before[name])}
    assert changed
    assert all(name.startswith("agent.iql.") for name in changed)


def test_learning_rates_reach_every_optimiser() -> None:
    learner, sampler, streams = make(small_config("csro"), [3])
    rates = {name: optimiser.param_groups[0]["lr"] for name, optimiser in learner.optimisers.items()}
    assert len(rates) > 2
    learner.update(sampler.batch(0), 0, streams, Pace(0.5, 0.25))
    for name, optimiser in learner.optimisers.items():
        factor = 0.25 if name == IQL else 0.5
        assert optimiser.param_groups[0]["lr"] == pytest.approx(factor * rates[name])
