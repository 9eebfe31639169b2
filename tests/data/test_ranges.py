"""How people choose tasks, and how messages name them."""

from __future__ import annotations

import numpy as np
import pytest

from clwm_data.errors import InvalidInputError
from clwm_data.ranges import indices_of, task_list, whole


@pytest.mark.parametrize(
    ("indices", "words"), [([7], "task 7"), ([2, 0, 1, 7], "tasks 0-2,7"), ([3, 3], "task 3")]
)
def test_one_task_and_several(indices: list[int], words: str) -> None:
    assert task_list(indices) == words


@pytest.mark.parametrize(
    "choice", ["0-1,6", [6, 0, 1, 6], np.array([0, 1, 6]), (i for i in (0, 1, 6)), {0: 0, 1: 0, 6: 0}.keys()]
)
def test_a_choice_is_text_or_numbers(choice: object) -> None:
    chosen = indices_of(choice, [0, 1, 6, 7])
    assert sorted(chosen) == [0, 1, 6]
    assert {type(index) for index in chosen} == {int}


@pytest.mark.parametrize("choice", [6, np.int64(6), "6", [6]])
def test_one_index_is_a_choice(choice: object) -> None:
    assert indices_of(choice, [0, 6]) == (6,)


@pytest.mark.parametrize("value", [3, np.int64(3), np.uint8(3), np.array(3)])
def test_a_whole_number(value: object) -> None:
    number = whole(value)
    assert number == 3
    assert type(number) is int


@pytest.mark.parametrize("value", [3.0, "3", None, True, np.True_, np.float64(3), [3], np.array([3, 4])])
def test_what_is_no_whole_number(value: object) -> None:
    assert whole(value) is None


@pytest.mark.parametrize("choice", [1.0, True, [True], [np.True_], ["6"], [0.5], [None], object()])
def test_what_is_no_choice_is_told(choice: object) -> None:
    with pytest.raises(InvalidInputError, match=r"^episodes: .*: expected whole numbers, or text such as"):
        indices_of(choice, [0, 1, 6], "episode")
