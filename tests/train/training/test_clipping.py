"""Clipping of gradients, against one seed at a time."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from clwm_train.training.clipping import clip_by_seed
from tests.train.helpers import small_config
from tests.train.training.test_learner import make


def parameters(scales: tuple[float, ...]) -> list[nn.Parameter]:
    """A bias, a matrix, and three critics per seed; the gradients of a seed have a scale."""
    made = []
    for copies, shape in ((1, (1, 4)), (1, (3, 4)), (3, (2,))):
        gradient = torch.randn(len(scales), copies, *shape, generator=torch.Generator().manual_seed(copies))
        gradient *= torch.tensor(scales).view(-1, 1, *[1] * len(shape))
        parameter = nn.Parameter(torch.zeros(len(scales) * copies, *shape))
        parameter.grad = gradient.flatten(0, 1)
        made.append(parameter)
    return [*made, nn.Parameter(torch.zeros(len(scales), 2))]  # the last has no gradient


def test_each_seed_is_clipped_as_if_alone() -> None:
    scales = (0.01, 5.0, 100.0)
    together = parameters(scales)
    clip_by_seed(together, 3, 2.0)
    for seed in range(3):
        alone = []
        for parameter in parameters(scales)[:3]:
            assert parameter.grad is not None
            own = parameter.grad.view(3, -1)[seed]
            single = nn.Parameter(torch.zeros_like(own))
            single.grad = own.clone()
            alone.append(single)
        norm = float(nn.utils.clip_grad_norm_(alone, 2.0))
        assert (norm > 2.0) == (seed > 0)
        for mine, theirs in zip(together[:3], alone, strict=True):
            assert mine.grad is not None
            assert theirs.grad is not None
            torch.testing.assert_close(mine.grad.view(3, -1)[seed], theirs.grad, rtol=1e-5, atol=1e-6)


def test_zero_gradients_stay_zero() -> None:
    (first, *_) = made = parameters((0.0, 1.0))
    clip_by_seed(made, 2, 1e-3)
    assert first.grad is not None
    assert torch.equal(first.grad[0], torch.zeros_like(first.grad[0]))


@pytest.mark.parametrize("method", ["spc", "tdmpc2"])
def test_an_update_clips_what_each_backward_pass_reaches(method: str) -> None:
    most = 1e-3
    learner, sampler, streams = make(
        small_config(method, "tiny", f"max_gradient_norm={most}", "representation_every=1"), [3, 4]
    )
    learner.update(sampler.batch(0), 0, streams)
    learner.update(sampler.batch(1), 1, streams)
    last = {name: learner.optimisers[name].param_groups for name in learner.optimisers}
    for names in (["backbone"], [name for name in last if name != "backbone"]):
        squares = torch.zeros(2)
        for parameter in (p for name in names for group in last[name] for p in group["params"]):
            squares += parameter.grad.view(2, -1).square().sum(1)
        assert (squares.sqrt() <= most * 1.001).all()
        assert (squares > 0.0).all()
