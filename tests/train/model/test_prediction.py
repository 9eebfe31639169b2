from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from clwm_train.kernels.gumbel import ScoreAndDraw
from clwm_train.kernels.gumbel_graph import score_and_draw
from clwm_train.kernels.streams import Purpose, RandomStreams
from clwm_train.model.fsq import FSQ
from clwm_train.model.latent_space import ContinuousSpace, DiscreteSpace, SimNormSpace
from clwm_train.model.prediction import Classification, Regression
from tests.train.helpers import code_index


@settings(deadline=None)
@given(
    seed=st.integers(0, 2**16),
    temperature=st.sampled_from([0.5, 1.0, 3.0]),
    spread=st.sampled_from([1.0, 30.0]),
)
def test_the_shared_softmax_gives_what_the_two_parts_give(
    seed: int, temperature: float, spread: float
) -> None:
    prediction = Classification(DiscreteSpace(3, FSQ([5, 3])), temperature)
    generator = torch.Generator().manual_seed(seed)
    output = (spread * torch.randn(2, 4, 45, generator=generator)).requires_grad_()
    target = torch.randint(0, 15, (2, 4, 3), generator=generator)
    code = torch.zeros(2, 4, 6)
    of_loss = torch.randn(2, 4, generator=generator)
    of_code = torch.randn(2, 4, 6, generator=generator)

    def draws() -> object:
        return RandomStreams([seed, 1]).at(Purpose.LATENT_NOISE, 3)

    apart = prediction.loss(output, code, target), prediction.advance(output, code, draws())  # type: ignore[arg-type]
    shared = prediction.loss_and_advance(output, code, target, draws())  # type: ignore[arg-type]
    for ours, theirs in zip(shared, apart, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    gradients = [
        torch.autograd.grad((loss * of_loss).sum() + (following * of_code).sum(), output)[0]
        for loss, following in (apart, shared)
    ]
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("together", [ScoreAndDraw.apply, score_and_draw])
@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_a_certain_code_is_drawn_whatever_the_noise(
    together: Callable[..., tuple[torch.Tensor, torch.Tensor]], temperature: float
) -> None:
    space = DiscreteSpace(1, FSQ([5, 3]))
    logits = torch.zeros(1, 2, 15, 1)
    logits[:, :, 7] = 300.0
    logits.requires_grad_()
    target = torch.full((1, 2, 1), 7)
    error, code = together(logits, target, space.fsq.codebook, temperature, torch.zeros(1, 2, 15, 1))
    assert torch.equal(code, space.fsq.codebook[target])
    gradient = torch.autograd.grad((error.sum() + code.sum()), logits)[0]
    assert error.abs().max() < 1e-6
    assert gradient.abs().max() < 1e-6  # not NaN


def test_codes_are_drawn_with_the_softmax_probabilities() -> None:
    logits = torch.randn(15, generator=torch.Generator().manual_seed(0))
    space = DiscreteSpace(1, FSQ([5, 3]))
    draws = RandomStreams([0]).at(Purpose.LATENT_NOISE)
    code = Classification(space, 1.0).advance(logits.expand(1, 200_000, 15), torch.zeros(0), draws)
    share = torch.bincount(code_index(space.fsq, code[0]), minlength=15) / 200_000
    torch.testing.assert_close(share, logits.softmax(-1), atol=4e-3, rtol=0)


def test_cosine_and_squared_distance() -> None:
    space = ContinuousSpace(4)
    code, change = torch.tensor([1.0, 2.0, 3.0, 4.0]), torch.tensor([0.5, 0.0, -1.0, 0.0])
    target = torch.tensor([2.0, 2.0, 2.0, 2.0])
    mse, cosine = Regression(space, "mse"), Regression(space, "cosine")
    assert mse.loss(change, code, target).item() == pytest.approx((0.25 + 0 + 0 + 4) / 4)
    predicted = code + change
    expected = 1 - (predicted @ target) / (predicted.norm() * target.norm())
    assert cosine.loss(change, code, target).item() == pytest.approx(expected.item())
    draws = RandomStreams([0]).at(Purpose.LATENT_NOISE)
    assert torch.equal(mse.advance(change, code, draws), predicted)


def test_simnorm_groups_add_up_to_one() -> None:
    code = SimNormSpace(12, 4)(5.0 * torch.randn(3, 12))
    torch.testing.assert_close(code.view(3, 3, 4).sum(-1), torch.ones(3, 3))
    assert (code >= 0).all()
