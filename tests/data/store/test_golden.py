"""A store that was written by the first version of format 1 stays readable, byte for byte.

It was collected from ``tests.conftest.tiny_manifest(name="golden-1")`` and is never to be written again.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from clwm_data import open_store
from clwm_data.store.validate import validate

CONTENT = "805e8ca222353a2cc8d47c758ca5635d5ad72bf6e1d166c56ae84573e338a228"


@pytest.fixture
def golden(tmp_path: Path) -> Path:
    # A copy: whatever a test does, what is kept in the repository is not touched.
    return Path(shutil.copytree(Path(__file__).with_name("golden-1.zarr"), tmp_path / "golden-1.zarr"))


def test_the_first_stores_are_valid_and_hold_what_they_held(golden: Path) -> None:
    assert validate(golden) == []
    store = open_store(golden)
    assert store.record.content_sha256 == CONTENT
    assert sorted(store.tasks) == [0, 6, 12]
    assert [store.tasks[index].split for index in (0, 6, 12)] == ["ood", "id", "train"]
    arrays = store.tasks[12].load()
    assert arrays.observation.shape == (5 * 41, 2)
    assert arrays.action.shape == (5 * 40, 2)
    np.testing.assert_allclose(arrays.reward.sum(dtype=np.float64), -224.07218570867553, rtol=1e-12)
    np.testing.assert_array_equal(
        arrays.observation[-1], np.float32([-0.0030170585960149765, -1.0922900438308716])
    )
