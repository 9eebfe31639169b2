"""Dense rewards through conversions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from clwm_data.collection.collector import collect
from clwm_data.convert.minari import from_minari, to_minari
from clwm_data.convert.npz import npz_source, to_npz
from clwm_data.convert.parquet import to_parquet
from clwm_data.convert.parquet_source import parquet_source
from clwm_data.convert.target import write_converted
from clwm_data.errors import InvalidInputError
from clwm_data.manifest import BehaviourEntry, Manifest
from clwm_data.opening import open_store
from clwm_data.store.reader import Store
from clwm_data.store.validate import validate
from tests.conftest import Clwm

FAMILY = "point-robot-sparse"


@pytest.fixture(scope="module")
def sparse(tmp_path_factory: pytest.TempPathFactory) -> Store:
    manifest = Manifest(
        name="sparse",
        family=FAMILY,
        tasks=[0, 3],
        behaviours=[BehaviourEntry(policy="random", episodes=2)],
    )
    return collect(manifest, tmp_path_factory.mktemp("stores") / "sparse.zarr")


@pytest.mark.parametrize("family", [FAMILY, "mine"])
@pytest.mark.parametrize("way", ["npz", "minari", "parquet"])
def test_dense_rewards_are_kept(sparse: Store, tmp_path: Path, way: str, family: str) -> None:
    target = tmp_path / "again.zarr"
    if way == "npz":
        write_converted(npz_source(to_npz(sparse.path, tmp_path / "x.npz")), target, family)
    elif way == "parquet":
        to_parquet(sparse.path, tmp_path / "parquet")
        write_converted(parquet_source(tmp_path / "parquet"), target, family)
    else:
        pytest.importorskip("minari")
        to_minari(sparse.path, tmp_path / "minari")
        from_minari(tmp_path / "minari", target, family, [0, 3])
    assert validate(target) == []
    for task in sparse:
        for before, after in zip(task.load(), open_store(target)[task.index].load(), strict=True):
            assert before.dense_reward is not None
            assert after.dense_reward is not None
            steps = len(before.reward) - (way == "parquet")  # which does not hold the last observation
            assert before.dense_reward.any()
            np.testing.assert_array_equal(after.dense_reward, before.dense_reward[:steps])


def test_a_dense_reward_must_be_one(sparse: Store, tmp_path: Path) -> None:
    with np.load(to_npz(sparse.path, tmp_path / "x.npz")) as loaded:
        arrays = dict(loaded)
    dense = arrays["dense_reward"]
    for value, words in ((np.nan, "holds nan"), (1e300, "holds 1e")):
        arrays["dense_reward"] = np.where(np.arange(len(dense)) == 0, value, dense.astype(np.float64))
        np.savez(tmp_path / "bad.npz", **arrays)
        with pytest.raises(InvalidInputError, match=f"episode 0: step 0: dense reward {words}"):
            write_converted(npz_source(tmp_path / "bad.npz"), tmp_path / "x.zarr", "mine")
    arrays["dense_reward"] = dense
    del arrays["success"]
    np.savez(tmp_path / "good.npz", **arrays)
    with pytest.raises(InvalidInputError, match="has a dense reward, family point-robot has none"):
        write_converted(npz_source(tmp_path / "good.npz"), tmp_path / "x.zarr", "point-robot")


def test_tensors_say_what_they_do_not_hold(sparse: Store, tmp_path: Path, clwm: Clwm) -> None:
    done = clwm("convert", sparse.path, "rows", "--to", "tensors")
    assert done.returncode == 0
    assert "rows of tensors hold no success and no dense reward: --to npz keeps them" in done.stderr
