from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from clwm_train import pieces
from clwm_train.nn.norm_mish import EPSILON, norm_mish


@pytest.mark.parametrize("piece", [1 << 17, 20])
@pytest.mark.parametrize("members", [1, 3])
def test_norm_mish_is_torchs_layer_norm_and_mish(
    members: int, piece: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pieces, "PIECE", piece)
    generator = torch.Generator().manual_seed(members)

    def random(*shape: int, scale: float = 1.0) -> torch.Tensor:
        value = scale * torch.randn(*shape, generator=generator, dtype=torch.float64)
        return value.requires_grad_()

    # A gain of 30 takes some entries beyond 20, where Mish is the identity in single precision.
    x, gain, bias = random(members, 7, 5), random(members, 1, 5, scale=30.0), random(members, 1, 5)
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
