"""Flat arrays as others have them: ``.npz``, D4RL's and robomimic's HDF5, tensors."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import torch

from clwm_data.convert.flat import find_columns, flat_episodes
from clwm_data.convert.hdf5 import hdf5_source
from clwm_data.convert.npz import npz_source, to_npz
from clwm_data.convert.target import write_converted
from clwm_data.convert.tensors import from_tensors, to_tensors
from clwm_data.errors import ClwmError, DamagedDataError, InvalidInputError
from clwm_data.opening import open_store
from clwm_data.store.validate import validate
from tests.conftest import Clwm
from tests.data.store.test_parquet import expected_rows


def d4rl(seed: int = 0) -> dict[str, np.ndarray[Any, Any]]:
    """Three episodes: 4 steps to a time limit, 3 to a terminal state, 2 that break off."""
    generator = np.random.default_rng(seed)
    timeouts, terminals = np.zeros(9, bool), np.zeros(9, bool)
    timeouts[3] = terminals[6] = True
    observations = generator.normal(size=(9, 2)).astype(np.float32)
    return {
        "observations": observations,
        "actions": generator.uniform(-1, 1, (9, 1)).astype(np.float32),
        "rewards": generator.normal(size=9).astype(np.float32),
        "terminals": terminals,
        "timeouts": timeouts,
    }


def following(data: dict[str, np.ndarray[Any, Any]]) -> np.ndarray[Any, Any]:
    shifted = np.roll(data["observations"], -1, axis=0)
    for last in (3, 6, 8):
        shifted[last] = 100.0 + last
    return shifted


def test_episodes_with_next_observations_are_whole() -> None:
    data = d4rl()
    data["next_observations"] = following(data)
    episodes = list(flat_episodes(data, find_columns(data, "x"), "x"))
    assert [len(e.reward) for e in episodes] == [4, 3, 2]
    assert [float(np.asarray(e.observation)[-1, 0]) for e in episodes] == [103.0, 106.0, 108.0]
    assert [bool(np.any(e.terminated)) for e in episodes] == [False, True, False]
    assert [bool(np.any(e.truncated)) for e in episodes] == [True, False, False]
    rows = np.concatenate([np.asarray(e.observation)[:-1] for e in episodes])
    np.testing.assert_array_equal(rows, data["observations"])


def test_without_them_unknown_last_steps_are_dropped_and_terminal_ones_kept() -> None:
    data = d4rl()
    episodes = list(flat_episodes(data, find_columns(data, "x"), "x"))
    assert [len(e.reward) for e in episodes] == [3, 3, 1]
    np.testing.assert_array_equal(episodes[0].observation, data["observations"][:4])
    np.testing.assert_array_equal(episodes[1].observation, data["observations"][[4, 5, 6, 6]])
    assert np.asarray(episodes[1].terminated).tolist() == [False, False, True]


@pytest.mark.parametrize("rows", [1, 2])
def test_episodes_of_one_step_are_episodes(rows: int) -> None:
    data = {
        "observations": np.zeros((rows, 3)),
        "next_observations": np.ones((rows, 3)),
        "actions": np.zeros((rows, 2)),
        "rewards": np.arange(rows),
    }
    episodes = list(flat_episodes(data, find_columns(data, "x"), "x"))
    assert [len(e.reward) for e in episodes] == [1] * rows
    for episode in episodes:
        np.testing.assert_array_equal(episode.observation, [[0.0] * 3, [1.0] * 3])


def test_d4rl_files_become_tasks(tmp_path: Path, clwm: Clwm) -> None:
    h5py = pytest.importorskip("h5py")
    (tmp_path / "d").mkdir()
    for number in (10, 2):
        with h5py.File(tmp_path / f"d/run{number}.hdf5", "w") as file:
            for name, array in d4rl(number).items():
                file[name] = array
            file["infos/qpos"] = np.zeros((9, 4))
            file["metadata/algorithm"] = "SAC"
    done = clwm("convert", "d", "s.zarr", "--from", "hdf5", "--family", "mine", "--splits", "train:0,id:1")
    assert done.returncode == 0, done.stderr
    assert [line.split()[:4] for line in done.stdout.splitlines()[2:4]] == [
        ["run2.hdf5", "0", "train", "3"],
        ["run10.hdf5", "1", "id", "3"],
    ]
    store = open_store(tmp_path / "s.zarr")
    assert validate(store.path) == []
    assert store.tasks[1].split == "id"
    np.testing.assert_array_equal(store.tasks[0].load().reward, d4rl(2)["rewards"][[0, 1, 2, 4, 5, 6, 7]])
    assert "last steps dropped" in store.record.edited.options["observations after last steps"]


def test_robomimic_groups_are_episodes(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "demos.hdf5", "w") as file:
        for number in (0, 1, 2, 10):
            group = file.create_group(f"data/demo_{number}")
            group["obs/eef"] = np.full((3, 2), float(number))
            group["obs/gripper"] = np.full(3, 0.5)
            group["next_obs/eef"] = np.full((3, 2), float(number))
            group["next_obs/gripper"] = np.full(3, 0.5)
            group["actions"] = np.zeros((3, 1))
            group["rewards"] = np.full(3, float(number))
            group["dones"] = [0, 0, 1]
    store = write_converted(hdf5_source(tmp_path / "demos.hdf5"), tmp_path / "s.zarr", "mine").store
    arrays = store.tasks[0].load()
    assert arrays.episode_return.tolist() == [0.0, 3.0, 6.0, 30.0]
    assert arrays.observation[0].tolist() == [0.0, 0.0, 0.5]
    assert arrays.terminated.sum() == 4


def test_damaged_and_strange_hdf5(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    file = tmp_path / "x.hdf5"
    file.write_bytes(b"no HDF5")
    with pytest.raises(DamagedDataError, match=r"x\.hdf5: cannot be read"):
        hdf5_source(file)
    with h5py.File(file, "w") as opened:
        opened["observations"] = np.zeros((3, 2))
    with pytest.raises(InvalidInputError, match=r"x\.hdf5: has no actions; it has: observations"):
        hdf5_source(file)
    with h5py.File(file, "w") as opened:
        opened.create_dataset("observations", (10**9, 100), "f8", chunks=(1000, 100))  # never written
        opened["actions"] = np.zeros((3, 1))
        opened["rewards"] = np.zeros(2)
    with pytest.raises(InvalidInputError, match="claims 800000000000 bytes, the file holds 0"):
        write_converted(hdf5_source(file), tmp_path / "s.zarr", "mine")
    with h5py.File(file, "w") as opened:
        opened["data/demo_0/obs/image"] = np.zeros((3, 8, 8))
        opened["data/demo_0/actions"] = np.zeros((3, 1))
        opened["data/demo_0/rewards"] = np.zeros(3)
    with pytest.raises(InvalidInputError, match="leave images out"):
        write_converted(hdf5_source(file), tmp_path / "s.zarr", "mine")
    assert not (tmp_path / "s.zarr").exists()


def test_npz_of_all_tasks_comes_back(collected: Path, tmp_path: Path, clwm: Clwm) -> None:
    to_npz(collected, tmp_path / "all.npz")
    done = clwm("convert", "all.npz", "again.zarr", "--from", "npz", "--family", "point-robot")
    assert done.returncode == 0, done.stderr
    here, again = open_store(collected), open_store(tmp_path / "again.zarr")
    for index, task in here.tasks.items():
        expected, found = task.load(), again.tasks[index].load()
        for name in ("observation", "action", "reward", "terminated", "truncated", "episode_length"):
            np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
        assert again.tasks[index].split == task.split
    other = write_converted(npz_source(tmp_path / "all.npz"), tmp_path / "other.zarr", "unheard-of").store
    assert {i: (t.split, dict(t.parameters)) for i, t in other.tasks.items()} == {
        i: (t.split, dict(t.parameters)) for i, t in here.tasks.items()
    }


def test_npz_that_claims_what_it_does_not_hold(tmp_path: Path) -> None:
    file = tmp_path / "x.npz"
    np.savez(file, observations=np.zeros((5, 2)), actions=np.zeros((5, 1)), rewards=np.zeros(5))
    file.write_bytes(file.read_bytes().replace(b"(5, 2)", b"(9, 2)"))
    with pytest.raises(DamagedDataError, match=r"x\.npz: "):
        npz_source(file)
    np.savez(file, observations=np.array([object()]), actions=np.zeros(1), rewards=np.zeros(1))
    with pytest.raises(ClwmError, match=r"x\.npz"):
        npz_source(file)


def test_tensors_there_and_back(collected: Path, tmp_path: Path, clwm: Clwm) -> None:
    done = clwm("convert", collected, "t", "--to", "tensors")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["t/task-0000.pt", "t/task-0006.pt", "t/task-0012.pt"]
    rows = torch.load(tmp_path / "t/task-0006.pt", weights_only=True)
    flat = open_store(collected).to_arrays([6])
    expected = np.hstack(
        [
            flat["observation"],
            flat["action"],
            flat["reward"][:, None],
            flat["next_observation"],
            flat["terminated"][:, None],
        ]
    )
    np.testing.assert_array_equal(rows.numpy(), expected.astype(np.float32))
    store = from_tensors(tmp_path / "t", tmp_path / "again.zarr", "point-robot").store
    assert [t.record.arrays["reward"] for t in store.tasks.values()] == [
        t.record.arrays["reward"] for t in open_store(collected).tasks.values()
    ]
    with pytest.raises(ClwmError, match="is there already"):
        to_tensors(collected, tmp_path / "t")


def test_an_expanded_tensor_is_refused(tmp_path: Path) -> None:
    """A file of a kilobyte that would become 32 GB."""
    (tmp_path / "t").mkdir()
    torch.save(torch.zeros(1, 8).expand(10**9, 8), tmp_path / "t/task6.pt")
    assert (tmp_path / "t/task6.pt").stat().st_size < 10_000
    with pytest.raises(InvalidInputError, match="expanded tensor"):
        from_tensors(tmp_path / "t", tmp_path / "s.zarr", "point-robot")


def test_parquet_is_what_datasets_loads(clwm: Clwm, collected: Path, tmp_path: Path) -> None:
    done = clwm("convert", collected, "rows", "--to", "parquet")
    assert done.returncode == 0, done.stderr
    names = [f"rows/data/{split}-00000-of-00001.parquet" for split in ("train", "id", "ood")]
    assert done.stdout.split() == names
    loaded = datasets.load_dataset(str(tmp_path / "rows"), cache_dir=str(tmp_path / "hf"))
    store = open_store(collected)
    assert list(loaded) == ["train", "id", "ood"]
    for split, rows in loaded.items():
        assert rows.to_list() == expected_rows(store, split)
    again = clwm("convert", collected, "rows", "--to", "parquet")
    assert (again.returncode, again.stderr.count("\n")) == (1, 1)
    assert "rows: is there already" in again.stderr


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("next_observations", np.zeros((9, 3)), "next_observations has shape [9, 3], observations [9, 2]"),
        ("next_observations", np.zeros(9), "next_observations has shape [9], observations [9, 2]"),
        ("terminals", np.full(9, 0.5), "terminals: row 0 is 0.5, expected 0 or 1"),
        ("timeouts", np.full(9, np.nan), "timeouts: row 0 is nan, expected 0 or 1"),
        ("timeouts", np.arange(9), "timeouts: row 2 is 2, expected 0 or 1"),
    ],
)
def test_columns_that_contradict_the_others_are_refused(name: str, values: Any, message: str) -> None:
    data = {**d4rl(), name: values}
    with pytest.raises(InvalidInputError, match=re.escape(f"logs: {message}")):
        list(flat_episodes(data, find_columns(data, "logs"), "logs"))


def test_actions_are_scaled_from_bounds_that_are_named(clwm: Clwm, tmp_path: Path) -> None:
    data = {**d4rl(), "actions": np.linspace(-2, 2, 18).reshape(9, 2)}
    np.savez(tmp_path / "a.npz", **data)
    command = ("convert", "a.npz", "a.zarr", "--from", "npz", "--family", "arm")
    assert "outside its bounds [-1, 1]" in clwm(*command).stderr
    done = clwm(*command, "--action-bounds=-2,4")
    assert done.returncode == 0, done.stderr
    first = open_store(tmp_path / "a.zarr")[0].load().action[0]
    np.testing.assert_allclose(first, (data["actions"][0] + 2) / 3 - 1, rtol=1e-5)
    per_entry = ("convert", "a.npz", "c.zarr", "--from", "npz", "--family", "arm", "--action-bounds=-2,4")
    done = clwm(*per_entry, "--action-bounds=-4,2")
    assert done.returncode == 0, done.stderr
    first = open_store(tmp_path / "c.zarr")[0].load().action[0]
    np.testing.assert_allclose(first, (data["actions"][0] + [2, 4]) / 3 - 1, rtol=1e-5, atol=1e-7)
    for text in ("2,-2", "1", "0,inf", "a,b"):
        done = clwm(
            "convert", "a.npz", "b.zarr", "--from", "npz", "--family", "arm", f"--action-bounds={text}"
        )
        assert done.returncode == 2
        assert "is not a pair of bounds such as -2,2" in done.stderr
