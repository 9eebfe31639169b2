"""Numbers for people: a true minus sign, thousands separators, the same decimals within a column."""

from __future__ import annotations

import math
from collections.abc import Sequence

MINUS = "\N{MINUS SIGN}"
SIGNIFICANT = 4  # digits of the largest number of a column
MOST_DECIMALS = 6


def decimals(values: Sequence[float]) -> int:
    """Number of decimals at which the largest of some numbers has four significant digits.

    Trailing zeros that all numbers share are dropped: none for integers, one decimal for 0.5 and 2.5.
    """
    finite = [value for value in values if math.isfinite(value)]
    largest = max(map(abs, finite), default=0.0)
    if largest == 0.0:
        return 0
    places = min(MOST_DECIMALS, max(0, SIGNIFICANT - 1 - math.floor(math.log10(largest))))
    while places and all(f"{value:.{places}f}".endswith("0") for value in finite):
        places -= 1
    return places


def number(value: float, places: int | None = None) -> str:
    """A number as text.

    Args:
        value: any float.
        places: decimals; by default those of :func:`decimals`.
    """
    text = f"{value:,.{decimals([value]) if places is None else places}f}"
    if text.strip("-0.,") == "":
        text = text.removeprefix("-")
    return text.replace("-", MINUS)


def column(values: Sequence[float | None]) -> list[str]:
    """The numbers of a column as text, all with the same decimals; empty for ``None``."""
    places = decimals([value for value in values if value is not None])
    return ["" if value is None else number(value, places) for value in values]


def plural(count: int, noun: str) -> str:
    """``1 episode``, ``1,200 episodes``, ``2 entries``."""
    nouns = f"{noun[:-1]}ies" if noun.endswith("ry") else f"{noun}s"
    return f"{count:,} {noun if count == 1 else nouns}"
