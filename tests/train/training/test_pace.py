"""How fast everything learns."""

from __future__ import annotations

import pytest

from clwm_train.training.pace import pace
from tests.train.helpers import small_config
from tests.train.training.test_learner import make


def test_learning_rates_fall_as_described() -> None:
    """Worked by hand: 100 updates, falling over the last half or all of them."""
    assert [pace(step, 100, 0.5) for step in (0, 30, 50)] == [1.0, 1.0, 1.0]
    assert [pace(step, 100, 0.5) for step in (51, 75, 99)] == pytest.approx([0.98, 0.5, 0.02])
    assert [pace(step, 100, 1.0) for step in (0, 25, 99)] == pytest.approx([1.0, 0.75, 0.01])


@pytest.mark.parametrize("preset", ["paper", "tiny"])
def test_the_published_pace_is_even(preset: str) -> None:
    decay = small_config("spc", preset).learning_rate_decay
    assert {pace(step, 1000, decay) for step in (0, 1, 500, 999)} == {1.0}


def test_learning_rates_reach_every_optimiser() -> None:
    learner, sampler, streams = make(small_config("csro"), [3])
    rates = {name: optimiser.param_groups[0]["lr"] for name, optimiser in learner.optimisers.items()}
    assert len(rates) > 2
    learner.update(sampler.batch(0), 0, streams, 0.25)
    for name, optimiser in learner.optimisers.items():
        assert optimiser.param_groups[0]["lr"] == pytest.approx(0.25 * rates[name])
