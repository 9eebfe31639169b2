"""How messages name tasks."""

from __future__ import annotations

import pytest

from clwm_data.ranges import task_list


@pytest.mark.parametrize(
    ("indices", "words"), [([7], "task 7"), ([2, 0, 1, 7], "tasks 0-2,7"), ([3, 3], "task 3")]
)
def test_one_task_and_several(indices: list[int], words: str) -> None:
    assert task_list(indices) == words
