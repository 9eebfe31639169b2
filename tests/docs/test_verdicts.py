"""What a claim of the paper is called, given how probably SPC is better than each of the others."""

from __future__ import annotations

import pytest

from clwm_train.metrics.aggregate import Interval
from docs.generate.results.claims import CONFIRMED, CONTRADICTED, UNDECIDED, verdict


@pytest.mark.parametrize(
    ("intervals", "expected"),
    [
        ({"a": Interval(0.9, 0.8, 1.0), "b": Interval(0.7, 0.51, 0.9)}, CONFIRMED),
        ({"a": Interval(0.9, 0.8, 1.0), "b": Interval(0.7, 0.5, 0.9)}, UNDECIDED),
        ({"a": Interval(0.9, 0.8, 1.0), "b": None}, UNDECIDED),
        ({"a": Interval(0.9, 0.8, 1.0), "b": Interval(0.2, 0.1, 0.49)}, CONTRADICTED),
        ({"a": Interval(0.9)}, UNDECIDED),
        ({}, UNDECIDED),
    ],
)
def test_verdicts(intervals: dict[str, Interval | None], expected: str) -> None:
    assert verdict(intervals) == expected
