"""Regression of scalars, against definitions written with loops and dense distributions."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from clwm_train.model.nn import MLP, Initialiser
from clwm_train.model.scalar import LIMIT, Squared, TwoHot, make_scalar, symexp, symlog
from tests.train.reference import two_hot

VALUES = [-5e5, -3000.0, -1.0, -0.3, -1e-4, 0.0, 1e-4, 0.02, 0.7, 12.0, 499.0, 22025.0, 1e7]


def test_the_log_scale_is_its_definition_and_its_inverse() -> None:
    value = torch.tensor(VALUES, dtype=torch.float64)
    for x, y in zip(VALUES, symlog(value).tolist(), strict=True):
        assert y == pytest.approx(math.copysign(math.log(abs(x) + 1.0), x))
    torch.testing.assert_close(symexp(symlog(value)), value)


@pytest.mark.parametrize("place", [-2.0, -1e-6, 0.0, 1e-6, 3.0])
def test_the_gradient_of_the_inverse_is_exp(place: float) -> None:
    x = torch.tensor(place, dtype=torch.float64, requires_grad=True)
    symexp(x).backward()  # type: ignore[no-untyped-call]
    assert x.grad is not None
    assert float(x.grad) == pytest.approx(math.exp(abs(place)))


@pytest.mark.parametrize("bins", [2, 5, 101])
def test_two_hot_is_a_cross_entropy_with_a_dense_target(bins: int) -> None:
    scalar = TwoHot(bins)
    output = 2.0 * torch.randn(3, len(VALUES), bins, generator=torch.Generator().manual_seed(0))
    target = torch.tensor(VALUES).expand(3, -1)
    error, value = scalar.error(output, target), scalar.value(output)
    for row in range(3):
        for column, x in enumerate(VALUES):
            logits = output[row, column].double().numpy()
            share = np.exp(logits) / np.exp(logits).sum()
            entropy = -(two_hot(x, bins) * np.log(share)).sum()
            assert float(error[row, column]) == pytest.approx(entropy, rel=1e-4, abs=1e-4)
            mean = (share * np.linspace(-10.0, 10.0, bins)).sum()
            expected = math.copysign(math.exp(abs(mean)) - 1.0, mean)
            assert float(value[row, column]) == pytest.approx(expected, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("x", [-40.0, -0.01, 0.0, 0.3, 7.0, 2000.0])
def test_the_least_error_predicts_the_target(x: float) -> None:
    scalar = TwoHot(101)
    logits = torch.from_numpy(np.log(two_hot(x, 101) + 1e-12)).float()
    assert float(scalar.value(logits)) == pytest.approx(x, rel=1e-3, abs=1e-3)


def test_values_beyond_the_scale_count_as_its_ends() -> None:
    scalar, most = TwoHot(101), math.expm1(LIMIT)
    output = torch.randn(2, 101)
    torch.testing.assert_close(
        scalar.error(output, torch.tensor([1e30, -1e30])), scalar.error(output, torch.tensor([most, -most]))
    )


def test_the_error_of_a_nan_is_a_nan() -> None:
    assert torch.isnan(TwoHot(5).error(torch.zeros(2, 5), torch.full((2,), torch.nan))).all()


def test_a_network_predicts_nothing_at_first() -> None:
    scalar = TwoHot(11)
    network = MLP(Initialiser([0, 1], "fan-in"), [4], [8], scalar.outputs, style="layernorm-mish")
    assert scalar.value(network(torch.randn(2, 5, 4))).abs().max() > 0.01
    scalar.initialise(network)
    torch.testing.assert_close(scalar.value(network(torch.randn(2, 5, 4))), torch.zeros(2, 5))


def test_without_bins_it_is_the_squared_error() -> None:
    scalar = make_scalar(None)
    assert isinstance(scalar, Squared)
    output = torch.tensor([[1.0], [3.0]])
    assert scalar.value(output).tolist() == [1.0, 3.0]
    assert scalar.error(output, torch.tensor([0.0, 5.0])).tolist() == [1.0, 4.0]
