from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clwm_data.errors import ClwmError, DamagedDataError
from clwm_data.families import get_family
from clwm_data.manifest import BehaviourEntry, Storage
from clwm_data.opening import open_store
from clwm_data.store import Episode, TaskArrays, writer
from clwm_data.store.arrays import DTYPES
from clwm_data.store.provenance import current_provenance
from clwm_data.store.root_writer import write_root
from clwm_data.store.validate import validate
from tests.conftest import tiny_manifest


def random_episode(rng: np.random.Generator, length: int, terminated: bool, number: int) -> Episode:
    last = np.arange(length) == length - 1
    return Episode(
        observation=rng.normal(size=(length + 1, 2)).astype(np.float32),
        action=rng.uniform(-1, 1, (length, 2)).astype(np.float32),
        reward=rng.normal(size=length).astype(np.float32),
        terminated=last & terminated,
        truncated=last & (not terminated),
        success=None,
        initial_state=rng.normal(size=2),
        seed=number,
        behaviour=number % 2,
    )


def write_store(
    path: Path,
    tasks: dict[int, list[Episode]],
    storage: Storage = Storage(),  # noqa: B008
    **sizes: int,
) -> None:
    manifest = tiny_manifest(tasks=list(tasks)).model_copy(update={"storage": storage})
    path.mkdir()
    for index, episodes in tasks.items():
        task = get_family("point-robot").task(index)
        counts = np.bincount([episode.behaviour for episode in episodes], minlength=2).tolist()
        mixture = [
            entry.model_copy(update={"episodes": count})
            for entry, count in zip(manifest.behaviours, counts, strict=True)
            if count
        ]
        writer.write_task(path, task, mixture, TaskArrays.from_episodes(episodes), storage, **sizes)
    write_root(path, manifest, current_provenance())


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    lengths=st.lists(st.integers(1, 40), min_size=2, max_size=12),
    chunk_bytes=st.sampled_from([1, 64, 500, 2**20]),
    shard_bytes=st.sampled_from([100, 1500, 2**28]),
    compression=st.sampled_from(["none", "zstd"]),
    seed=st.integers(0, 2**32),
)
def test_what_is_written_is_read(
    lengths: list[int], chunk_bytes: int, shard_bytes: int, compression: str, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    episodes = [random_episode(rng, n, bool(rng.integers(2)), i) for i, n in enumerate(lengths)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "s.zarr"
        storage = Storage(compression=compression)  # type: ignore[arg-type]
        write_store(path, {12: episodes}, storage, chunk_bytes=chunk_bytes, shard_bytes=shard_bytes)
        assert validate(path) == []
        task = open_store(path).tasks[12]
        loaded = task.load(verify=True)
        for name, array in loaded.named().items():
            np.testing.assert_array_equal(np.asarray(task.array(name)[...]), array)  # as zarr decodes it
    expected = TaskArrays.from_episodes(episodes).named()
    assert list(loaded.named()) == list(expected)
    for name, array in loaded.named().items():
        assert array.dtype == DTYPES[name]
        np.testing.assert_array_equal(array, expected[name])
    for number, (read, written) in enumerate(zip(loaded, episodes, strict=True)):
        np.testing.assert_array_equal(read.observation, written.observation)
        np.testing.assert_array_equal(read.reward, written.reward)
        assert (read.seed, read.behaviour) == (number, number % 2)


def test_observation_rows_align_with_transitions() -> None:
    rng = np.random.default_rng(0)
    episodes = [random_episode(rng, n, False, n) for n in (3, 1, 2)]
    arrays = TaskArrays.from_episodes(episodes)
    rows = arrays.observation_row()
    assert rows.tolist() == [0, 1, 2, 4, 6, 7]
    for episode in (0, 1, 2):
        start = arrays.episode_start[episode]
        np.testing.assert_array_equal(arrays.observation[rows[start]], episodes[episode].observation[0])
    np.testing.assert_array_equal(arrays.observation[rows + 1][-1], episodes[-1].observation[-1])
    np.testing.assert_array_equal(arrays.episode(-1).observation, episodes[-1].observation)


def test_plain_zarr_reads_the_store(collected: Path) -> None:
    group = zarr.open_consolidated(str(collected), mode="r")
    store = open_store(collected)
    for index, task in store.tasks.items():
        np.testing.assert_array_equal(
            np.asarray(group[f"tasks/{index:04d}/observation"]), task.load().observation
        )
        assert group[f"tasks/{index:04d}"].attrs["split"] == task.split


def test_metadata(collected: Path) -> None:
    store = open_store(collected)
    assert (store.name, store.family) == ("tiny", "point-robot")
    assert list(store.tasks) == [0, 6, 12]
    assert [task.split for task in store.tasks.values()] == ["ood", "id", "train"]
    assert store.missing_tasks == ()
    assert store.tasks[12].parameters == get_family("point-robot").task(12).parameters
    assert store.manifest.behaviours[1] == BehaviourEntry(policy="random", episodes=2)
    assert store.provenance.packages["clwm"]
    record = store.tasks[6].record
    arrays = store.tasks[6].load()
    returns = np.array([episode.reward.astype(np.float64).sum() for episode in arrays])
    assert record.statistics.returns.mean == pytest.approx(returns.mean())
    assert record.statistics.returns_by_behaviour[1].min == pytest.approx(returns[3:].min())


def test_no_store(tmp_path: Path) -> None:
    with pytest.raises(ClwmError, match="neither a path nor user/repo"):
        open_store(tmp_path / "nowhere.zarr")
    with pytest.raises(ClwmError, match="is not a store"):
        open_store(tmp_path)
    zarr.create_group(store=str(tmp_path / "other.zarr"))
    with pytest.raises(ClwmError, match="not a clwm store"):
        open_store(tmp_path / "other.zarr")


@pytest.mark.parametrize(("version", "mend"), [(99, "upgrade clwm"), (0, "collect it again"), ("x", "again")])
def test_another_format_version_is_refused(store_path: Path, version: object, mend: str) -> None:
    root = json.loads((store_path / "zarr.json").read_text())
    root["attributes"]["format_version"] = version
    (store_path / "zarr.json").write_text(json.dumps(root))
    with pytest.raises(ClwmError, match=f"format version {version}.*{mend}"):
        open_store(store_path)


@pytest.mark.parametrize("name", ["tasks/0006", "tasks/0006/zarr.json"])
def test_a_missing_task_is_said_to_be_missing(store_path: Path, name: str) -> None:
    path = store_path / name
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    for read in (open_store(store_path).tasks[6].load, lambda: open_store(store_path)[6].array("reward")):
        with pytest.raises(
            DamagedDataError, match=rf"{name}: is missing: collect or download the task again$"
        ):
            read()


def test_a_missing_chunk_is_an_error_and_not_zeros(store_path: Path) -> None:
    (store_path / "tasks/0006/reward/c.0").unlink()
    store = open_store(store_path)
    with pytest.raises(ClwmError, match=r"0006/reward/c\.0: is missing"):
        store.tasks[6].load()
