"""Networks that only act compute what training computes, up to rounding."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from clwm_train.config import NetworkStyle
from clwm_train.kernels import inference
from clwm_train.model.agent import Agent
from clwm_train.model.fsq import FSQ
from clwm_train.model.nn import MLP, Initialiser
from clwm_train.model.nn.linear import Linear
from tests.train.helpers import small_config

Floats = NDArray[np.float64]


@pytest.fixture(autouse=True)
def no_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def network(style: NetworkStyle, seeds: int, copies: int, hidden: tuple[int, ...] = (6, 5)) -> MLP:
    """With random biases and gains, some of which take entries to where exp(2 h) overflows."""
    made = MLP(Initialiser(range(seeds), "fan-in"), [4, 3], hidden, 2, style=style, copies=copies)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator))
        for norm in made.norms:
            norm.weight.mul_(40.0)
    return made


def by_hand(made: MLP, x: Floats, seeds: int, copies: int) -> Floats:
    """The outputs [S, C, N, 2] in double precision, member by member."""

    def double(parameter: Any, member: int) -> Floats:
        values: Floats = parameter.detach()[member].double().numpy()
        return values

    y = np.empty((seeds, copies, x.shape[1], 2))
    for seed in range(seeds):
        for copy in range(copies):
            member, h = seed * copies + copy, x[seed]
            for index, layer in enumerate(made.layers):
                h = h @ double(layer.weight, member) + double(layer.bias, member)
                if made.norms:
                    norm = made.norms[index]
                    h = (h - h.mean(1, keepdims=True)) / np.sqrt(h.var(1, keepdims=True) + 1e-5)
                    h = h * double(norm.weight, member) + double(norm.bias, member)
                    h = h * np.tanh(np.logaddexp(0.0, h))
                else:
                    h = np.maximum(h, 0.0)
            y[seed, copy] = h @ double(made.head.weight, member) + double(made.head.bias, member)
    return y


@pytest.mark.parametrize("style", ["layernorm-mish", "relu"])
@pytest.mark.parametrize(("seeds", "copies"), [(1, 1), (3, 1), (1, 2), (2, 3)])
@pytest.mark.parametrize("hidden", [(), (6, 5)])
@pytest.mark.parametrize("rows", [1, 23])
def test_outputs_are_those_by_hand(
    monkeypatch: pytest.MonkeyPatch,
    style: NetworkStyle,
    seeds: int,
    copies: int,
    hidden: tuple[int, ...],
    rows: int,
) -> None:
    made = network(style, seeds, copies, hidden)
    x = torch.randn(seeds, rows, 7, generator=torch.Generator().manual_seed(2))
    before = x.clone()
    expected = by_hand(made, x.double().numpy(), seeds, copies)
    for piece in (inference.PIECE, 48):  # rows at once: all, or few
        monkeypatch.setattr(inference, "PIECE", piece)
        with torch.inference_mode():
            y = made(x)
        assert y.shape == ((seeds, copies, rows, 2) if copies > 1 else (seeds, rows, 2))
        scale = np.abs(expected).max()
        np.testing.assert_allclose(y.reshape(expected.shape).numpy(), expected, atol=2e-5 * scale)
    assert torch.equal(x, before)
    torch.testing.assert_close(y.clone(), made(x).detach(), rtol=0, atol=2e-5 * float(scale))


def test_what_is_not_a_number_stays_so() -> None:
    made, fsq = network("layernorm-mish", 1, 1), FSQ([5, 3])
    x = torch.ones(1, 4, 7)
    x[0, 1, 2], x[0, 2, 2] = torch.nan, torch.inf
    with torch.inference_mode():
        assert torch.isnan(made(x)).any(-1).tolist() == [[False, True, True, False]]
        assert torch.isnan(fsq(torch.full((1, 1, 2), torch.nan))).all()


@pytest.mark.parametrize("levels", [[5, 3], [4], [8, 6, 5]])
def test_codes_are_those_of_training(levels: list[int]) -> None:
    fsq = FSQ(levels)
    raw = 3.0 * torch.randn(2, 2000, 3, len(levels), generator=torch.Generator().manual_seed(3))
    with torch.inference_mode():
        codes = fsq(raw)
    expected = fsq(raw.requires_grad_()).detach()
    differs = (codes != expected).any(-1).float().mean()
    assert differs < 1e-4  # values that lie within rounding between two levels
    assert codes.unique().numel() > 2


def test_products_in_bfloat16_stay_so() -> None:
    made = network("layernorm-mish", 1, 1)
    x = torch.randn(1, 9, 7, generator=torch.Generator().manual_seed(4))
    exact = made(x).detach()
    for part in made.modules():
        if isinstance(part, Linear):
            part.bf16 = True
    with torch.inference_mode():
        rounded = made(x).clone()
    assert torch.equal(rounded, made(x).detach())
    assert not torch.allclose(rounded, exact, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("method", ["spc", "tdmpc2", "focal", "bc"])
def test_an_agent_that_acted_can_be_trained(method: str) -> None:
    """Nothing that acting computes or keeps stands in the way of gradients, or is changed by the caller."""
    agent = Agent(small_config(method, "tiny", "context.next_observation=true"), [0, 1], 2, 2)
    observation, z = torch.randn(2, 3, 2), torch.randn(2, 3, agent.context_encoder.size)
    with torch.inference_mode():
        noise = torch.zeros(2, 3, agent.policy.noise_size)
    action = agent.act(observation, z, noise if agent.policy.stochastic else None)
    action.clamp_(-0.5, 0.5)
    state = torch.cat([agent.features(observation), z], -1)
    agent.policy.network(state).square().sum().backward()
    weights = agent.policy.network.head.weight
    assert weights.grad is not None
    assert weights.grad.abs().max() > 0
