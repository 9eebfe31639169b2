"""Positions and labels of the ticks of an axis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Context, Decimal
from itertools import pairwise

from clwm_data.pages.numbers import MINUS

#: Exact for multiples of a step within any range of distinct doubles.
_EXACT = Context(prec=60)
_FACTORS = (5, 2, 1)  # round steps are these times a power of ten


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round numbers in [low, high]: at least two, about ``count``, evenly spaced.

    Steps are Heckbert's nice numbers (1, 2 or 5 times a power of ten; "Nice Numbers for Graph Labels",
    Graphics Gems, 1990). Unlike his labels, which enclose the data, ticks stay inside the range, so the step
    is the one with at least two ticks whose number comes closest to ``count``. If doubles cannot represent
    two distinct round numbers in the range, its ends are returned.

    Args:
        low: lower end, finite.
        high: upper end, finite and greater than ``low``.
        count: desired number of ticks, at least 2.

    Raises:
        ValueError: the range is empty or not finite.
    """
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ValueError(f"an axis must span finite values: {low} to {high}")
    start, end = Decimal(low), Decimal(high)
    # The largest step that can give two ticks is at most the span; its exponent starts the search.
    exponent = (_EXACT.subtract(end, start)).adjusted()
    best: list[float] = []
    for power in (exponent, exponent - 1, exponent - 2):
        for factor in _FACTORS:
            multiples = _multiples(start, end, Decimal(factor).scaleb(power), limit=count + 8)
            if len(multiples) >= 2 and (not best or abs(len(multiples) - count) < abs(len(best) - count)):
                best = multiples
    return best or [low, high]


def _multiples(start: Decimal, end: Decimal, step: Decimal, limit: int) -> list[float]:
    """Multiples of a step in [start, end]; none if there are more than ``limit`` or doubles merge them."""
    first = _EXACT.divide(start, step).to_integral_value("ROUND_CEILING", _EXACT)
    last = _EXACT.divide(end, step).to_integral_value("ROUND_FLOOR", _EXACT)
    if last - first >= limit:
        return []
    values = [float(_EXACT.multiply(first + number, step)) for number in range(int(last - first) + 1)]
    inside = [value + 0.0 for value in values if start <= Decimal(value) <= end]
    return inside if all(left < right for left, right in pairwise(inside)) else []


def tick_labels(values: Sequence[float]) -> list[str]:
    """Labels of ticks, all with as many decimals as their step needs; powers of ten for very large ones."""
    if len(values) < 2:
        return [f"{value:g}".replace("-", MINUS) for value in values]
    step = min(right - left for left, right in pairwise(values))
    largest = max(map(abs, values))
    digit = math.floor(math.log10(step) + 1e-9)
    if largest >= 1e6 or digit < -5:
        digits = max(0, math.floor(math.log10(largest)) - digit)
        texts = [f"{value:.{min(digits, 16)}e}".replace("e+0", "e").replace("e-0", "e-") for value in values]
        texts = [
            "0" if value == 0.0 else text.replace("e+", "e")
            for text, value in zip(texts, values, strict=True)
        ]
    else:
        texts = [f"{value:,.{max(0, -digit)}f}" for value in values]
    return [text.replace("-", MINUS) for text in texts]
