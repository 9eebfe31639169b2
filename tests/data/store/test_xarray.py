"""xarray opens a task of a store as a dataset."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import zarr

from clwm_data.opening import open_store
from clwm_data.store.arrays import DIMENSIONS, DTYPES


def test_dimensions_are_named(collected: Path) -> None:
    assert DIMENSIONS.keys() == DTYPES.keys()
    group = zarr.open_group(str(collected / "tasks/0012"), mode="r")
    sizes: dict[str, int] = {}
    for name, array in group.arrays():
        assert array.metadata.dimension_names == DIMENSIONS[name]
        for dimension, size in zip(DIMENSIONS[name], array.shape, strict=True):
            assert sizes.setdefault(dimension, size) == size  # one dimension has one size
    assert set(sizes) >= {"transition", "episode", "observation_row"}


def test_xarray_reads_a_task(collected: Path) -> None:
    xarray = pytest.importorskip("xarray")
    dataset = xarray.open_zarr(str(collected), group="tasks/0012", consolidated=False)
    arrays = open_store(collected)[12].load()
    for name, array in arrays.named().items():
        np.testing.assert_array_equal(dataset[name].values, array)
    assert dataset.sizes["episode"] == arrays.episodes
