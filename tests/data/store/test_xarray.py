"""xarray opens a task of a store as a dataset."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray
import zarr

from clwm_data.collection.collector import collect
from clwm_data.manifest import Storage
from clwm_data.opening import open_store
from clwm_data.store.arrays import DIMENSIONS, DTYPES
from tests.conftest import tiny_manifest


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
    """As docs/reading.md says, with no other arguments."""
    dataset = xarray.open_zarr(str(collected), group="tasks/0012")
    task = open_store(collected)[12]
    arrays = task.load()
    assert set(dataset.variables) == set(arrays.named())
    for name, array in arrays.named().items():
        assert dataset[name].dims == DIMENSIONS[name]
        assert dataset[name].dtype == array.dtype
        np.testing.assert_array_equal(dataset[name].values, array)
    assert dataset.sizes["episode"] == arrays.episodes
    assert dataset.sizes["transition"] == arrays.transitions
    assert dataset.sizes["observation_row"] == arrays.transitions + arrays.episodes
    assert dataset.attrs["index"] == 12
    first = dataset.reward.isel(transition=slice(0, int(dataset.episode_length[0]))).sum().item()
    assert first == pytest.approx(task.load().episode(0).reward.sum(), rel=1e-5)


def test_xarray_reads_a_store_with_all_options(tmp_path: Path) -> None:
    """Compressed, and with the arrays that only some families have."""
    manifest = tiny_manifest([6], name="compressed").model_copy(
        update={"storage": Storage(compression="zstd")}
    )
    store = collect(manifest, tmp_path / "compressed.zarr")
    dataset = xarray.open_zarr(str(store.path), group="tasks/0006")
    for name, array in store[6].load().named().items():
        np.testing.assert_array_equal(dataset[name].values, array)
