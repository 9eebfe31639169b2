from __future__ import annotations

from math import erf, exp, pi, sqrt

import pytest
import torch
from torch.nn import functional

from clwm_train.config import Init
from clwm_train.kernels.chunked import PIECE
from clwm_train.kernels.norm_mish import EPSILON, norm_mish
from clwm_train.model.nn import MLP, Initialiser
from clwm_train.model.nn.linear import Linear


@pytest.mark.parametrize("rows", [7, PIECE // 5 + 7])  # the second is worked on in two pieces
@pytest.mark.parametrize("members", [1, 3])
def test_norm_mish_is_torchs_layer_norm_and_mish(members: int, rows: int) -> None:
    generator = torch.Generator().manual_seed(members)

    def random(*shape: int, scale: float = 1.0) -> torch.Tensor:
        value = scale * torch.randn(*shape, generator=generator, dtype=torch.float64)
        return value.requires_grad_()

    # A gain of 30 takes some entries beyond 20, where Mish is the identity in single precision.
    x, gain, bias = random(members, rows, 5), random(members, 1, 5, scale=30.0), random(members, 1, 5)
    ours = norm_mish(x, gain, bias)
    normal = functional.layer_norm(x, (5,), eps=EPSILON)
    theirs = functional.mish(normal * gain + bias)
    assert ours.abs().max() > 20
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    upstream = torch.randn(ours.shape, generator=generator, dtype=torch.float64)
    for mine, its in zip(
        torch.autograd.grad(ours, (x, gain, bias), upstream),
        torch.autograd.grad(theirs, (x, gain, bias), upstream),
        strict=True,
    ):
        torch.testing.assert_close(mine, its, rtol=1e-9, atol=1e-10)
    with torch.no_grad():
        assert torch.equal(norm_mish(x, gain, bias), ours)


#: Standard deviation of a standard normal truncated at two of them.
TRUNCATED = sqrt(1.0 - 4.0 * exp(-2.0) / sqrt(2.0 * pi) / erf(sqrt(2.0)))


@pytest.mark.parametrize(
    ("init", "first", "second"),
    [
        ("truncated-normal-0.02", 0.02 * TRUNCATED, 0.02 * TRUNCATED),
        ("fan-in", TRUNCATED / sqrt(500), TRUNCATED / sqrt(500)),
        ("group-fan-in", TRUNCATED / sqrt(2 * 400), TRUNCATED / sqrt(2 * 100)),
        ("orthogonal", sqrt(2 / 500), sqrt(2 / 500)),
    ],
)
def test_initial_weights_have_the_documented_spread(init: Init, first: float, second: float) -> None:
    assert abs(TRUNCATED - 0.88) < 0.001
    weight = Initialiser((0,), init).weight([400, 100], 300)[0]
    spreads = [float(part.std()) for part in weight.split([400, 100])]
    assert spreads == pytest.approx([first, second], rel=0.02)


@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.parametrize("copies", [1, 2, 3])
@pytest.mark.parametrize("seeds", [(4,), (0, 9)])
@pytest.mark.parametrize("hidden", [(), (6,), (6, 5)])
def test_copies_that_share_an_input_are_networks_of_their_own(
    hidden: tuple[int, ...], seeds: tuple[int, ...], copies: int, bf16: bool
) -> None:
    torch.manual_seed(0)
    network = MLP(Initialiser(seeds, "orthogonal"), [4, 3], hidden, 2, style="layernorm-mish", copies=copies)
    linears = [module for module in network.modules() if isinstance(module, Linear)]
    for linear in linears:
        linear.bf16 = bf16
        torch.nn.init.normal_(linear.bias)
    x = torch.randn(len(seeds), 2, 50, 7, requires_grad=True)
    ours = network(x).view(len(seeds), copies, 2, 50, 2)

    def alone(seed: int, copy: int) -> torch.Tensor:
        member, y = seed * copies + copy, x[seed]
        for index, linear in enumerate(linears):
            if index > 0:
                y = functional.mish(functional.layer_norm(y, y.shape[-1:], eps=EPSILON))
            y = functional.linear(y, linear.weight[member].T, linear.bias[member, 0])
        return y

    theirs = torch.stack([torch.stack([alone(s, c) for c in range(copies)]) for s in range(len(seeds))])
    torch.testing.assert_close(ours, theirs, rtol=0.05 if bf16 else 1e-5, atol=0.1 if bf16 else 1e-5)
    upstream = torch.randn(ours.shape)
    sources = [x, *(parameter for linear in linears for parameter in linear.parameters())]
    for mine, its in zip(
        torch.autograd.grad(ours, sources, upstream),
        torch.autograd.grad(theirs, sources, upstream),
        strict=True,
    ):
        assert (mine - its).norm() <= (0.1 if bf16 else 1e-5) * its.norm()
