"""Logs that hold anything: one line each, and nothing is stored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clwm_data import Recorder
from clwm_data.errors import InvalidInputError

GOOD: dict[str, Any] = {"observation": np.zeros((6, 2)), "action": np.zeros((5, 1)), "reward": np.zeros(5)}

LOGS: dict[str, tuple[dict[str, Any], str]] = {
    "masked": ({"reward": np.ma.masked_all(5)}, "reward: has masked values"),
    "complex": ({"action": np.zeros((5, 1), complex)}, "action: holds complex128, not real numbers"),
    "dates": ({"reward": np.zeros(5, "M8[s]")}, "not real numbers"),
    "bounds of text": ({"action_bounds": "x"}, "its bounds are 'x', not lowest and highest values"),
    "three bounds": ({"action_bounds": (-1, 0, 1)}, "not lowest and highest values"),
    "endless bounds": ({"action_bounds": (-1e308, 1e308)}, "has no finite bounds"),
    "no actions": ({"action": [0] * 5, "action_bounds": 0}, "1 to 100,000 discrete actions, not 0"),
    "a truth value": ({"action": [0] * 5, "action_bounds": True}, "discrete actions, not True"),
    "too many": ({"action": [0] * 5, "action_bounds": 10**12}, "discrete actions, not 1000000000000"),
}


@pytest.mark.parametrize("name", LOGS)
def test_one_line_and_nothing_is_stored(name: str, tmp_path: Path) -> None:
    changed, words = LOGS[name]
    with pytest.raises(InvalidInputError, match=words) as caught, Recorder(tmp_path / "x.zarr", task=0) as r:
        r.add_episode(**{**GOOD, **changed})
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_number_of_numpy_counts_actions_too(tmp_path: Path) -> None:
    with Recorder(tmp_path / "x.zarr", task=0) as r:
        r.add_episode(**{**GOOD, "action": [0, 1, 2, 0, 1]}, action_bounds=np.int64(3))
        assert r.episodes == 1
