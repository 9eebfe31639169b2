from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from clwm_data.pages.ticks import tick_labels, ticks

finite = st.floats(allow_nan=False, allow_infinity=False)


@given(finite, finite, st.integers(2, 12))
@example(-3.6, 3.7, 4)
@example(0.0, 5e-324, 4)
@example(-1.7e308, 1.7e308, 5)
@example(1e16, 1e16 + 2, 3)
@example(0.1, 0.30000000000000004, 2)
def test_any_range_has_two_ticks_inside_it(low: float, high: float, count: int) -> None:
    if low == high:
        return
    low, high = min(low, high), max(low, high)
    found = ticks(low, high, count)
    assert 2 <= len(found) <= count + 8
    assert all(low <= tick <= high for tick in found)
    assert found == sorted(set(found))
    assert len(set(tick_labels(found))) == len(found)


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6), st.integers(2, 10))
def test_ticks_are_multiples_of_nice_numbers_and_about_as_many_as_asked(
    low: float, width: float, count: int
) -> None:
    found = ticks(low, low + width, count)
    steps = np.diff([float(tick) for tick in found])
    digits = f"{steps[0]:.3e}"
    assert digits[:5] in ("1.000", "2.000", "5.000")
    step = Decimal(digits)
    assert all(Decimal(repr(tick)) % step == 0 for tick in found)
    # Between nice numbers lies a factor of 2.5 at most; two ticks may take a smaller step.
    assert len(found) <= max(7, 2.5 * count)
    assert len(found) >= min(count / 2.5, 2)


@pytest.mark.parametrize(
    ("arguments", "expected", "labels"),
    [
        ((-3.6, 3.7, 4), [-2.0, 0.0, 2.0], ["−2", "0", "2"]),
        ((0.0, 1.0, 5), [0.0, 0.2, 0.4, 0.6, 0.8, 1.0], ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
        ((0.0, 40_000.0, 5), [0.0, 1e4, 2e4, 3e4, 4e4], ["0", "10,000", "20,000", "30,000", "40,000"]),
        ((0.0, 3e6, 4), [0.0, 1e6, 2e6, 3e6], ["0", "1e6", "2e6", "3e6"]),
    ],
)
def test_examples(arguments: tuple[float, float, int], expected: list[float], labels: list[str]) -> None:
    assert ticks(*arguments) == expected
    assert tick_labels(expected) == labels


@pytest.mark.parametrize("bounds", [(1.0, 1.0), (2.0, 1.0), (0.0, float("inf")), (float("nan"), 1.0)])
def test_an_empty_range_is_refused(bounds: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="finite values"):
        ticks(*bounds)
