from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clwm_data.pages.numbers import column, number


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        ([-171.0, -57.4, -42.01], ["−171.0", "−57.4", "−42.0"]),
        ([0.1, 0.2, 4.0], ["0.1", "0.2", "4.0"]),
        ([1234.5, 2.0], ["1,234", "2"]),
        ([3.0, None, 10.0], ["3", "", "10"]),
        ([0.5, 0.123456], ["0.5000", "0.1235"]),
        ([0.0, -0.0], ["0", "0"]),
        ([-0.0001, 12.0], ["0", "12"]),
    ],
)
def test_a_column_has_the_same_decimals_throughout(values: list[float | None], texts: list[str]) -> None:
    assert column(values) == texts


@given(st.lists(st.floats(-1e12, 1e12), min_size=1))
def test_columns_line_up_and_keep_the_largest_number(values: list[float]) -> None:
    texts = column(values)
    assert len({len(text.partition(".")[2]) for text in texts}) == 1
    largest = max(range(len(values)), key=lambda place: abs(values[place]))
    read = float(texts[largest].replace("\N{MINUS SIGN}", "-").replace(",", ""))
    assert read == pytest.approx(values[largest], rel=5e-4, abs=5e-7)


def test_numbers() -> None:
    assert [number(value) for value in (1e6, -42.0123, 0.25)] == ["1,000,000", "−42.01", "0.25"]
