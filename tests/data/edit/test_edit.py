from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from clwm_data.collection.collector import collect
from clwm_data.edit import delete_episodes, merge, select
from clwm_data.errors import ClwmError, ConflictError, DamagedDataError
from clwm_data.manifest import BehaviourEntry
from clwm_data.opening import open_store
from clwm_data.store.arrays import TaskArrays
from clwm_data.store.lock import locked
from clwm_data.store.stored_task import StoredTask
from clwm_data.store.validate import validate
from tests.conftest import Clwm, tiny_manifest, tree
from tests.data.edit.editing import assert_sound, episodes
from tests.data.store.test_validate import rewritten, with_value


def test_delete_episodes(store_path: Path) -> None:
    before = {index: episodes(store_path, index) for index in (0, 6, 12)}
    files = {name: (store_path / name).stat().st_ino for name in tree(store_path)}
    store = delete_episodes(store_path, {6: [0, 1, 2], 12: [4]})
    assert episodes(store_path, 0) == before[0]
    assert episodes(store_path, 6) == before[6][3:]
    assert episodes(store_path, 12) == before[12][:4]
    assert store.name == "tiny"
    assert store.record.edited.options == {"task 6": "0-2", "task 12": "4"}
    assert store.tasks[6].record.behaviours == [BehaviourEntry(policy="random", episodes=2)]
    kept = {name: (store_path / name).stat().st_ino for name in tree(store_path)}
    assert all(files[name] == kept[name] for name in files if name.startswith("tasks/0000"))
    assert_sound(store_path)
    with pytest.raises(ClwmError, match=r"was made by delete-episodes.*--overwrite"):
        collect(tiny_manifest(), store_path)
    collect(tiny_manifest(), store_path, overwrite=True)
    assert episodes(store_path, 6) == before[6]


@pytest.mark.parametrize("numbers", [2, np.int64(2), "2", {2: None}.keys()])
def test_episodes_to_delete_are_numbers_or_text(store_path: Path, numbers: object) -> None:
    before = episodes(store_path, 6)
    delete_episodes(store_path, {6: numbers})
    assert episodes(store_path, 6) == before[:2] + before[3:]


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({"6": [0]}, "has no task '6'; it has 0,6,12"),
        ({6: ["0"]}, "episodes: .*: expected whole numbers"),
        ({6: "0-9"}, "no episode 9"),
        ({}, "no episodes to delete"),
        ({6: []}, "no episodes to delete"),
        ({1: [0]}, "has no task 1; it has 0,6,12"),
        ({6: [5]}, "task 6 has no episode 5: it has 0 to 4"),
        ({6: range(5)}, "would have no episode left"),
    ],
)
def test_impossible_deletions_change_nothing(
    store_path: Path, request_: dict[int, list[int]], words: str
) -> None:
    before = tree(store_path)
    with pytest.raises(ClwmError, match=words):
        delete_episodes(store_path, request_)
    assert tree(store_path) == before
    assert not list(store_path.parent.glob(".*"))


def test_damaged_stores_are_not_edited(store_path: Path, tmp_path: Path) -> None:
    file = store_path / "tasks/0006/reward/c.0"
    file.write_bytes(bytes([file.read_bytes()[0] ^ 1]) + file.read_bytes()[1:])
    for act in (
        lambda: select(store_path, tmp_path / "x.zarr", tasks=[6]),
        lambda: select(store_path, tmp_path / "x.zarr", min_return=-1000.0),
        lambda: delete_episodes(store_path, {12: [0]}),
        lambda: delete_episodes(store_path, {6: [0]}),
    ):
        with pytest.raises(ClwmError, match="reward"):
            act()
        assert [path.name for path in tmp_path.iterdir()] == ["tiny.zarr"]


def test_values_that_no_digest_vouches_for_are_not_carried_on(store_path: Path, tmp_path: Path) -> None:
    """A NaN whose digests somebody mended, in a task that is copied unchanged."""
    damaged = rewritten(store_path, lambda a: replace(a, reward=with_value(a.reward, 3, np.nan)))
    other = collect(tiny_manifest([1], name="other"), tmp_path / "other.zarr").path
    before = tree(tmp_path)
    for act in (
        lambda: select(damaged, tmp_path / "x.zarr"),
        lambda: select(damaged, tmp_path / "x.zarr", tasks=[6, 12]),
        lambda: merge([other, damaged], tmp_path / "x.zarr"),
        lambda: delete_episodes(damaged, {12: [0]}),
    ):
        with pytest.raises(DamagedDataError, match="0006: reward: row 3 holds a value that is not finite"):
            act()
        assert tree(tmp_path) == before
    select(damaged, tmp_path / "sound.zarr", tasks=[0, 12])


def test_a_source_that_is_replaced_meanwhile(
    store_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After its values were checked, before its files are copied."""
    load = StoredTask.load

    def loaded(task: StoredTask) -> TaskArrays:
        arrays = load(task)
        if task.index == 6:
            monkeypatch.setattr(StoredTask, "load", load)
            collect(tiny_manifest(seed=1), store_path, overwrite=True)
        return arrays

    # Patched: no other way leads between two steps of one call.
    monkeypatch.setattr(StoredTask, "load", loaded)
    with pytest.raises(ConflictError, match="replaced while it was being read: run the command again"):
        select(store_path, tmp_path / "x.zarr")
    assert not (tmp_path / "x.zarr").exists()
    assert validate(select(store_path, tmp_path / "y.zarr").path) == []


def test_nothing_is_overwritten_and_writers_are_alone(
    collected: Path, store_path: Path, tmp_path: Path
) -> None:
    (tmp_path / "there.zarr").mkdir()
    with pytest.raises(ClwmError, match="is there already"):
        select(collected, tmp_path / "there.zarr")
    with locked(store_path), pytest.raises(ClwmError, match="another process is writing"):
        delete_episodes(store_path, {6: [0]})
    with pytest.raises(ClwmError, match="no task 1; it has: 0, 12, 6"):
        select(collected, tmp_path / "x.zarr", tasks=[1])
    with pytest.raises(ClwmError, match="no behaviour expert; it has: random, scripted"):
        select(collected, tmp_path / "x.zarr", behaviours=["expert"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["there.zarr", "tiny.zarr"]


def test_commands(collected: Path, store_path: Path, clwm: Clwm, tmp_path: Path) -> None:
    result = clwm(
        "select", collected, "part.zarr", "--tasks", "0,6", "--behaviour", "scripted", "--episodes", "0-1"
    )
    assert (result.returncode, result.stdout) == (0, "part.zarr: 2 tasks, 160 transitions\n"), result.stderr
    result = clwm("select", collected, "rest.zarr", "--split", "train", "--min-return", "-1e9")
    assert result.returncode == 0, result.stderr
    result = clwm("merge", "part.zarr", "rest.zarr", "--out", "merged.zarr")
    assert (result.returncode, result.stdout) == (0, "merged.zarr: 3 tasks, 360 transitions\n"), result.stderr
    result = clwm("delete-episodes", store_path, "--task", "6", "--episodes", "1-2,4")
    assert result.returncode == 0, result.stderr
    assert open_store(store_path).tasks[6].record.episodes == 2
    result = clwm("delete-episodes", store_path, "--task", "6", "--episodes", "7")
    assert result.returncode == 1
    assert result.stderr.startswith("clwm: error: episode selection '7': no episode 7")
    text = clwm("info", "merged.zarr").stdout
    assert "merge from part (sha256 " in text
    assert "no manifest collects it again" in text
    document = json.loads(clwm("info", "part.zarr", "--json").stdout)
    assert document["edited"]["options"] == {"tasks": "0,6", "behaviours": "scripted", "episodes": "0-1"}


def test_missing_provenance_is_said(tmp_path: Path, clwm: Clwm) -> None:
    manifest = tiny_manifest(tasks=[6]).model_copy(update={"licence": None, "authors": [], "description": ""})
    collect(manifest, tmp_path / "x.zarr")
    result = clwm("validate", "x.zarr")
    assert result.returncode == 0
    assert [line.split(":")[1].strip() for line in result.stderr.splitlines()] == [
        "no licence",
        "no authors",
        "no description",
    ]
