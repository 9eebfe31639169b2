from __future__ import annotations

from math import prod

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from vector_quantize_pytorch import FSQ as OracleFSQ

from clwm_train.kernels.chunked import PIECE
from clwm_train.model.fsq import FSQ

LEVELS = st.lists(st.integers(3, 8), min_size=1, max_size=4)


@given(levels=LEVELS, seed=st.integers(0, 2**16))
def test_codes_and_indices_are_the_oracles(levels: list[int], seed: int) -> None:
    x = 3.0 * torch.randn(2, 50, len(levels), generator=torch.Generator().manual_seed(seed))
    fsq, oracle = FSQ(levels), OracleFSQ(levels)
    expected, index = oracle(x)
    torch.testing.assert_close(fsq(x), expected, rtol=0, atol=1e-6)
    assert torch.equal(fsq.index(x), index.long())
    torch.testing.assert_close(fsq.codebook, oracle.implicit_codebook)


@given(levels=LEVELS, seed=st.integers(0, 2**16))
def test_gradient_is_the_oracles(levels: list[int], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(1, 20, len(levels), generator=generator, requires_grad=True)
    upstream = torch.randn(1, 20, len(levels), generator=generator)
    (ours,) = torch.autograd.grad(FSQ(levels)(x), x, upstream)
    (theirs,) = torch.autograd.grad(OracleFSQ(levels)(x)[0], x, upstream)
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("rows", [3, PIECE // 8 + 1])  # the second is worked on in two pieces
def test_codes_without_a_gradient_are_those_with_one(rows: int) -> None:
    fsq, generator = FSQ([5, 4]), torch.Generator().manual_seed(0)
    for groups in (4, 1, 4):  # constants of a row are kept by its number of groups
        x = 3.0 * torch.randn(rows, groups, 2, generator=generator)
        expected = fsq(x.clone().requires_grad_())
        with torch.no_grad():
            assert torch.equal(fsq(x), expected)


@given(levels=st.lists(st.integers(2, 8), min_size=1, max_size=4))
def test_every_index_has_a_code_of_its_own(levels: list[int]) -> None:
    fsq = FSQ(levels)
    codes = fsq.index_to_code(torch.arange(prod(levels)))
    assert len(torch.unique(codes, dim=0)) == prod(levels) == fsq.codes
    assert codes.abs().max() <= 1.0


@pytest.mark.parametrize(
    ("level", "values"),
    [(2, [-1, 0]), (3, [-1, 0, 1]), (4, [-1, -0.5, 0, 0.5]), (5, [-1, -0.5, 0, 0.5, 1])],
)
def test_every_level_is_reached_and_zero_stays_zero(level: int, values: list[float]) -> None:
    fsq = FSQ([level])
    reached = torch.unique(fsq(torch.linspace(-20, 20, 4001).unsqueeze(-1)))
    torch.testing.assert_close(reached, torch.tensor(values, dtype=torch.float32))
    assert fsq(torch.zeros(1, 1)).item() == 0.0


def test_published_levels_have_15_codes_of_two_channels() -> None:
    fsq = FSQ([5, 3])
    assert (fsq.codes, fsq.channels) == (15, 2)
    assert fsq.codebook.shape == (15, 2)
