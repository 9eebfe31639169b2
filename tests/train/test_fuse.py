"""Compiled kernels, and a loop that the host never waits for."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch._dynamo
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from clwm_train import fuse
from clwm_train.fuse import fused_kernels, is_fusing
from clwm_train.listing import list_methods
from clwm_train.meter import Meter
from clwm_train.nn.norm_mish import EPSILON, fused_norm_mish
from tests.train.helpers import COMPILER, small_config
from tests.train.test_learner import make


@COMPILER
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_fused_norm_mish_is_torchs_for_any_shape(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    # One version for one member, one for several: other sizes, and parameters, must not add to them.
    torch._dynamo.reset()
    monkeypatch.setattr(fuse, "MOST_VERSIONS", 4)
    generator = torch.Generator().manual_seed(0)

    def random(*shape: int, scale: float = 1.0) -> torch.Tensor:
        return scale * torch.randn(*shape, generator=generator)

    for members, rows, size in ((1, 7, 5), (3, 7, 5), (3, 640, 32), (2, 9, 256), (1, 20, 64), (6, 3, 17)):
        x = random(members, rows, size).to(dtype)
        # A gain of 30 takes some entries beyond 20, where Mish is the identity, and some below -20.
        inputs = [x, random(members, 1, size), random(members, 1, size, scale=30.0), random(members, 1, size)]
        inputs = [torch.nn.Parameter(part) for part in inputs]
        with torch._dynamo.config.patch(fail_on_recompile_limit_hit=True), fused_kernels():
            ours = fused_norm_mish(*inputs)
            upstream = random(*ours.shape).to(dtype)
            found = torch.autograd.grad(ours, inputs, upstream)
        exact = [part.detach().double().requires_grad_() for part in inputs]
        normal = functional.layer_norm(exact[0] + exact[1], (size,), eps=EPSILON)
        theirs = functional.mish(normal * exact[2] + exact[3])
        expected = torch.autograd.grad(theirs, exact, upstream.double())
        tolerance = 1e-5 if dtype == torch.float32 else 1e-2
        assert ours.dtype == found[0].dtype == dtype
        for mine, its in zip((ours, *found), (theirs, *expected), strict=True):
            scale = float(its.detach().abs().max())
            torch.testing.assert_close(mine.double(), its, rtol=tolerance, atol=tolerance * scale)


def test_kernels_are_compiled_only_where_asked() -> None:
    assert not is_fusing()
    with fused_kernels():
        assert is_fusing()
        with fused_kernels(False):
            assert not is_fusing()
    assert not is_fusing()


class Reads(TorchDispatchMode):
    """Notes operations whose result the host has to wait for on a GPU."""

    waiting = ("_local_scalar_dense", "nonzero", "is_nonzero", "masked_select", "unique", "equal.default")

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if any(name in str(func) for name in self.waiting) or ("device" in kwargs and "copy" in str(func)):
            self.seen.append(str(func))
        return func(*args, **kwargs)


@pytest.mark.parametrize("method", [entry.name for entry in list_methods()])
def test_the_host_reads_nothing_back_between_rows_of_metrics(method: str) -> None:
    learner, sampler, streams = make(small_config(method), [3, 4])
    meter = Meter()
    with Reads() as reads:
        for step in range(3):
            meter.add(learner.update(sampler.batch(step), step, streams), step)
    assert reads.seen == []


def test_reading_back_would_be_seen() -> None:
    with Reads() as reads:
        float(torch.ones(()).sum())
    assert reads.seen
