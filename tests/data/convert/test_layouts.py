"""Flat arrays as people write them: names, precisions and numbers of episodes and tasks of many kinds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from clwm_data.convert.hdf5 import hdf5_source
from clwm_data.convert.npz import npz_source
from clwm_data.convert.parquet_source import parquet_source
from clwm_data.convert.source import Source
from clwm_data.convert.target import Conversion, write_converted
from clwm_data.errors import ClwmError, InvalidInputError
from tests.conftest import Clwm

LENGTHS = (4, 3, 2)
ROWS = sum(LENGTHS)
Arrays = dict[str, np.ndarray[Any, Any]]


def arrays(kind: type[np.floating[Any]] = np.float32) -> Arrays:
    """Three episodes: to a time limit, to a terminal state, and one that breaks off."""
    generator = np.random.default_rng(0)
    whole = [generator.normal(size=(length + 1, 2)).astype(kind) for length in LENGTHS]
    terminals, timeouts = np.zeros((2, ROWS), bool)
    timeouts[3] = terminals[6] = True
    return {
        "observations": np.concatenate([rows[:-1] for rows in whole]),
        "next_observations": np.concatenate([rows[1:] for rows in whole]),
        "actions": generator.uniform(-1, 1, (ROWS, 1)).astype(kind),
        "rewards": generator.normal(size=ROWS).astype(kind),
        "terminals": terminals,
        "timeouts": timeouts,
    }


def renamed(**names: str) -> Arrays:
    return {names.get(name, name): values for name, values in arrays().items()}


def without(*names: str, **more: Any) -> Arrays:
    kept = {name: values for name, values in arrays().items() if name not in names}
    return {**kept, **{name: np.asarray(values) for name, values in more.items()}}


def npz(folder: Path, columns: Arrays) -> Source:
    np.savez(folder / "t0.npz", **columns)  # type: ignore[arg-type]
    return npz_source(folder / "t0.npz")


def parquet(folder: Path, columns: Arrays) -> Source:
    table = {name: list(values) if values.ndim == 2 else values for name, values in columns.items()}
    pq.write_table(pa.table(table), folder / "t0.parquet")
    return parquet_source(folder / "t0.parquet")


def hdf5(folder: Path, columns: Arrays) -> Source:
    with h5py.File(folder / "t0.hdf5", "w") as opened:
        for name, values in columns.items():
            opened[name] = values
    return hdf5_source(folder / "t0.hdf5")


FORMATS = [npz, parquet, hdf5]


def converted(source: Source, folder: Path) -> Conversion:
    return write_converted(source, folder / "x.zarr", "mine")


def lengths(conversion: Conversion) -> list[int]:
    return conversion.store[0].load().episode_length.tolist()


@pytest.mark.parametrize("write", FORMATS)
@pytest.mark.parametrize(
    "columns",
    [
        renamed(terminals="terminal", timeouts="timeout"),
        renamed(observations="state", next_observations="next_state", actions="action", rewards="reward"),
        renamed(observations="states", next_observations="next_states"),
        renamed(terminals="termination", timeouts="truncation", actions="act"),
        without("terminals", "timeouts"),
    ],
    ids=["singular", "state", "states", "act", "joints alone"],
)
def test_names_of_others_are_known(write: Any, columns: Arrays, tmp_path: Path) -> None:
    done = converted(write(tmp_path, columns), tmp_path)
    assert lengths(done) == [*LENGTHS]
    np.testing.assert_array_equal(done.store.to_arrays()["next_observation"], arrays()["next_observations"])
    assert not done.remarks


@pytest.mark.parametrize("write", FORMATS)
@pytest.mark.parametrize("name", ["done", "dones"])
def test_done_alone_ends_episodes_and_is_said_to_tell_no_time_limit(
    write: Any, name: str, tmp_path: Path
) -> None:
    flags = arrays()["terminals"] | arrays()["timeouts"]
    columns = without("terminals", "timeouts", "next_observations", **{name: flags})
    done = converted(write(tmp_path, columns), tmp_path)
    assert lengths(done) == [4, 3, 1]
    (remark,) = done.remarks
    assert f"t0.{'hdf5' if write is hdf5 else write.__name__}: {name} does not tell time limits" in remark
    edited = done.store.record.edited
    assert edited is not None
    assert edited.options["remarks"] == remark


@pytest.mark.parametrize("write", FORMATS)
def test_done_beside_terminations_tells_where_episodes_were_cut_off(write: Any, tmp_path: Path) -> None:
    ends = arrays()["terminals"] | arrays()["timeouts"]
    columns = without("timeouts", "next_observations", dones=ends)
    done = converted(write(tmp_path, columns), tmp_path)
    assert lengths(done) == [3, 3, 1]  # the last step is only known where it terminated
    assert [bool(episode.terminated.any()) for episode in done.store[0].load()] == [False, True, False]
    assert done.remarks == []
    (tmp_path / "whole").mkdir()
    columns = without("timeouts", dones=ends)
    done = converted(write(tmp_path / "whole", columns), tmp_path / "whole")
    np.testing.assert_array_equal(done.store[0].load().truncated, arrays()["timeouts"])


@pytest.mark.parametrize("write", FORMATS)
@pytest.mark.parametrize("name", ["episode", "episode_id", "episode_index"])
def test_numbers_of_episodes_separate_them(write: Any, name: str, tmp_path: Path) -> None:
    numbers = np.repeat([5, 7, 6], LENGTHS)
    columns = without("terminals", "timeouts", "next_observations", **{name: numbers})
    done = converted(write(tmp_path, columns), tmp_path)
    assert lengths(done) == [3, 2, 1]
    assert done.remarks == []


@pytest.mark.parametrize("write", [npz, parquet])
def test_numbers_of_tasks_separate_them(write: Any, tmp_path: Path) -> None:
    """Without numbers of episodes, too; a column of words is none of these numbers."""
    columns = {**arrays(), "task": np.repeat([3, 3, 8], LENGTHS)}
    done = converted(write(tmp_path, columns), tmp_path)
    assert [(t.task, t.episodes, t.transitions) for t in done.tasks] == [(3, 2, 7), (8, 1, 2)]
    worded = {**arrays(), "task": np.repeat(["push", "pull", "push"], LENGTHS)}
    (tmp_path / "w").mkdir()
    done = converted(write(tmp_path / "w", worded), tmp_path / "w")
    assert [(t.task, t.transitions) for t in done.tasks] == [(0, ROWS)]
    told = "its column task holds no whole numbers: the file is read as one task"
    assert done.remarks == [f"{tmp_path}/w/t0.{write.__name__}: {told}"]


@pytest.mark.parametrize("write", [npz, parquet])
def test_several_files_of_several_tasks(write: Any, tmp_path: Path) -> None:
    """A task may be in two files; its episodes end with each of them."""
    several = tmp_path / "several"
    for name, tasks in (("a", [3, 3, 8]), ("b", [8, 5, 5])):
        (several / name).mkdir(parents=True)
        columns = without("timeouts", "terminals", task=np.repeat(tasks, LENGTHS))
        write(several / name, columns)
    source = {npz: npz_source, parquet: parquet_source}[write]
    done = write_converted(source(several), tmp_path / "x.zarr", "mine")
    found = {index: done.store[index].load().episode_length.tolist() for index in done.store.tasks}
    assert found == {3: [4, 3], 5: [3, 2], 8: [2, 4]}
    assert not done.remarks


@pytest.mark.parametrize("coarse", ["observations", "next_observations"])
def test_arrays_of_different_precision_are_joined(coarse: str, tmp_path: Path) -> None:
    """float64 beside float32 is the same number, rounded."""
    columns = {**arrays(np.float64), coarse: arrays(np.float64)[coarse].astype(np.float32)}
    assert lengths(converted(npz(tmp_path, columns), tmp_path)) == [*LENGTHS]


def test_rows_that_do_not_join_are_remarked_on(tmp_path: Path) -> None:
    backwards = {name: values[::-1] for name, values in without("terminals", "timeouts").items()}
    done = converted(npz(tmp_path, backwards), tmp_path)
    assert lengths(done) == [1] * ROWS
    assert "t0.npz: its 9 steps make 9 episodes: few begin where the one before led to" in done.remarks[0]
    # Episodes of one step that end are what they are.
    bandit = {**backwards, "terminals": np.ones(ROWS, bool)}
    (tmp_path / "b").mkdir()
    assert converted(npz(tmp_path / "b", bandit), tmp_path / "b").remarks == []


@pytest.mark.parametrize("write", FORMATS)
def test_data_that_say_nothing_of_ends_are_remarked_on(write: Any, tmp_path: Path) -> None:
    done = converted(write(tmp_path, without("terminals", "timeouts", "next_observations")), tmp_path)
    assert lengths(done) == [ROWS - 1]
    assert "nothing says where episodes end" in done.remarks[0]


def test_demonstrations_end_with_their_group(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "d.hdf5", "w") as opened:
        for number in range(2):
            group = opened.create_group(f"data/demo_{number}")
            group["obs"], group["actions"], group["rewards"] = np.zeros((4, 2)), np.zeros((4, 1)), np.zeros(4)
            group["camera"] = np.zeros((4, 8, 8, 3), np.uint8)
    done = converted(hdf5_source(tmp_path / "d.hdf5"), tmp_path)
    assert lengths(done) == [3, 3]
    assert done.remarks == [f"{tmp_path}/d.hdf5: not read: camera"]


def test_what_is_not_read_is_said_on_the_command_line(clwm: Clwm, tmp_path: Path) -> None:
    np.savez(tmp_path / "t0.npz", **arrays(), goal=np.zeros(3), **{"infos/qpos": np.zeros(ROWS)})
    done = clwm("convert", "t0.npz", "x.zarr", "--from", "npz", "--family", "mine")
    assert (done.returncode, done.stderr) == (0, "t0.npz: not read: goal, infos/qpos\n")


def test_python_objects_are_left_alone_unless_they_are_needed(tmp_path: Path) -> None:
    about = np.array({"who": "Ada"}, object)
    done = converted(npz(tmp_path, {**arrays(), "about": about}), tmp_path)
    assert (lengths(done), done.remarks) == ([*LENGTHS], [f"{tmp_path}/t0.npz: not read: about"])
    ragged = np.array([np.zeros((2, 1)), np.zeros((3, 1))], object)
    (tmp_path / "y").mkdir()
    with pytest.raises(InvalidInputError, match=r"t0\.npz: actions: holds Python objects, not numbers: save"):
        converted(npz(tmp_path / "y", {**arrays(), "actions": ragged}), tmp_path / "y")


def test_one_number_per_step_is_a_vector_of_one_entry(tmp_path: Path) -> None:
    columns = arrays()
    for name in ("observations", "next_observations", "actions"):
        columns[name] = columns[name][:, 0]
    store = converted(npz(tmp_path, columns), tmp_path).store
    assert (store[0].observation_size, store[0].action_size) == (1, 1)
    np.testing.assert_array_equal(store.to_arrays()["action"][:, 0], columns["actions"])


def test_a_number_of_an_episode_is_one_number(tmp_path: Path) -> None:
    with pytest.raises(ClwmError, match=r"t0\.npz: episode: has shape \[9, 2\], expected one number per row"):
        converted(npz(tmp_path, {**arrays(), "episode": np.zeros((ROWS, 2))}), tmp_path)
