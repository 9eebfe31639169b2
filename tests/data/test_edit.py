from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clwm_data.collect.collector import collect
from clwm_data.edit import delete_episodes, merge, select
from clwm_data.errors import ClwmError
from clwm_data.families import SPLITS, Task
from clwm_data.manifest import BehaviourEntry
from clwm_data.store import Episode, TaskArrays, open_store
from clwm_data.store.lock import locked
from clwm_data.store.replay import replay
from clwm_data.store.validate import validate
from clwm_data.store.writer import write_root, write_task
from tests.conftest import Clwm, tiny_manifest


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Other episodes of two tasks of ``collected``, and a task of its own; other policies and credits."""
    path = tmp_path_factory.mktemp("other") / "other.zarr"
    manifest = tiny_manifest(tasks=(6, 12, 30), seed=1, name="other").model_copy(
        update={
            "behaviours": [
                BehaviourEntry(policy="random", episodes=2),
                BehaviourEntry(policy="scripted", noise=1.0, episodes=2),
            ],
            "authors": ["somebody", "nobody"],
            "licence": "MIT OR Apache-2.0",
        }
    )
    collect(manifest, path)
    return path


def episodes(path: Path, index: int) -> list[tuple[object, ...]]:
    """The episodes of a task as comparable values, each with the policy that made it."""
    task = open_store(path).tasks[index]
    return [
        (
            *(array.tobytes() for array in (e.observation, e.action, e.reward, e.terminated, e.truncated)),
            e.initial_state.tobytes(),
            e.seed,
            (task.record.behaviours[e.behaviour].policy, task.record.behaviours[e.behaviour].noise),
        )
        for e in task.load(verify=True)
    ]


def snapshot(path: Path) -> dict[str, bytes]:
    return {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}


def assert_sound(path: Path) -> None:
    assert validate(path) == []
    assert replay(path, 1).findings == []
    assert not list(path.parent.glob(f".{path.name}*"))
    assert not (path / ".collect").exists()


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_select_keeps_exactly_what_passes(
    collected: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    everything = {index: (task.split, task.load()) for index, task in open_store(collected).tasks.items()}
    returns = np.concatenate([arrays.episode_return for _, arrays in everything.values()]).tolist()
    tasks = data.draw(st.none() | st.sets(st.sampled_from(sorted(everything)), min_size=1))
    splits = data.draw(st.none() | st.sets(st.sampled_from(SPLITS), min_size=1))
    behaviours = data.draw(st.none() | st.sets(st.sampled_from(["random", "scripted"]), min_size=1))
    min_return = data.draw(st.none() | st.sampled_from(returns))
    numbers = data.draw(st.none() | st.sets(st.integers(0, 4), min_size=1))
    expected = {
        index: [
            number
            for number, value in enumerate(arrays.episode_return)
            if (tasks is None or index in tasks)
            and (splits is None or split in splits)
            and (behaviours is None or ("scripted" if number < 3 else "random") in behaviours)
            and (min_return is None or value >= min_return)
            and (numbers is None or number in numbers)
        ]
        for index, (split, arrays) in everything.items()
    }
    target = tmp_path_factory.mktemp("select") / "part.zarr"

    def make() -> None:
        select(
            collected,
            target,
            tasks=tasks,
            splits=splits,
            behaviours=behaviours,
            min_return=min_return,
            episodes=numbers,
        )

    if not any(expected.values()):
        with pytest.raises(ClwmError, match="no episode passes"):
            make()
        assert not list(target.parent.iterdir())
        return
    make()
    part = open_store(target)
    assert list(part.tasks) == [index for index, kept in expected.items() if kept]
    assert part.missing_tasks == ()
    for index in part.tasks:
        whole = episodes(collected, index)
        assert episodes(target, index) == [whole[number] for number in expected[index]]
    assert_sound(target)


def test_a_selection_says_where_it_comes_from(collected: Path, tmp_path: Path) -> None:
    before = snapshot(collected)
    select(collected, tmp_path / "a.zarr", splits=["train", "id"])
    part = select(tmp_path / "a.zarr", tmp_path / "b.zarr", tasks=[6], behaviours=["random"])
    assert snapshot(collected) == before
    assert part.name == "b"
    assert part.manifest.behaviours == [BehaviourEntry(policy="random", episodes=2)]
    assert part.tasks[6].record.statistics.returns_by_behaviour[0].episodes == 2
    edited = part.record.edited
    assert edited is not None
    assert (edited.operation, edited.options) == ("select", {"tasks": "6", "behaviours": "random"})
    (source,) = edited.sources
    assert (source.name, source.edited.options) == ("a", {"splits": "train, id"})
    (first,) = source.edited.sources
    assert (first.name, first.edited) == ("tiny", None)
    assert first.content_sha256 == open_store(collected).record.content_sha256
    assert first.manifest == open_store(collected).manifest


def test_the_whole_store_selected_is_the_same_data(collected: Path, tmp_path: Path) -> None:
    copy = select(collected, tmp_path / "copy.zarr")
    assert copy.record.content_sha256 == open_store(collected).record.content_sha256
    again = select(collected, tmp_path / "again.zarr", episodes=range(5))
    assert again.record.content_sha256 == open_store(collected).record.content_sha256


def test_merge(collected: Path, other: Path, tmp_path: Path) -> None:
    both = merge([collected, other], tmp_path / "both.zarr")
    assert list(both.tasks) == [0, 6, 12, 30]
    assert episodes(both.path, 0) == episodes(collected, 0)
    assert episodes(both.path, 30) == episodes(other, 30)
    for index in (6, 12):
        assert episodes(both.path, index) == episodes(collected, index) + episodes(other, index)
    assert [(entry.policy, entry.noise, entry.episodes) for entry in both.tasks[6].record.behaviours] == [
        ("scripted", 0.3, 3),
        ("random", 0.0, 4),
        ("scripted", 1.0, 2),
    ]
    assert both.manifest.authors == ["nobody", "somebody"]
    assert both.manifest.licence == "CC0-1.0 AND (MIT OR Apache-2.0)"
    assert [source.name for source in both.record.edited.sources] == ["tiny", "other"]
    assert_sound(both.path)


def test_parts_merge_to_the_whole(collected: Path, tmp_path: Path) -> None:
    """Also what was collected on two machines."""
    collect(tiny_manifest(), tmp_path / "a.zarr", tasks=[0, 12])
    collect(tiny_manifest(), tmp_path / "b.zarr", tasks=[6])
    whole = merge([tmp_path / "a.zarr", tmp_path / "b.zarr"], tmp_path / "whole.zarr")
    assert whole.record.content_sha256 == open_store(collected).record.content_sha256
    halves = [
        select(collected, tmp_path / f"{n}.zarr", episodes=part) for n, part in enumerate([[0, 1], [2, 3, 4]])
    ]
    again = merge([half.path for half in halves], tmp_path / "again.zarr")
    assert again.record.content_sha256 == open_store(collected).record.content_sha256


def test_a_merge_of_two_simulators_is_of_neither(collected: Path, other: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(other, tmp_path / "copy.zarr"))
    store = open_store(copy)
    packages = {**store.provenance.packages, "mujoco": "1.0"}
    write_root(copy, store.manifest, store.provenance.model_copy(update={"packages": packages}))
    both = merge([collected, copy], tmp_path / "both.zarr")
    assert both.provenance.packages["mujoco"].endswith(" and 1.0")
    report = replay(both.path, 1)
    assert len(report.differences) == 1
    assert report.findings == []


def changed(path: Path, target: Path, change: Callable[[Task, TaskArrays], tuple[Task, TaskArrays]]) -> Path:
    """A copy of a store whose task 6 was changed."""
    shutil.copytree(path, target)
    store = open_store(target)
    task = store.tasks[6]
    arrays = task.load()
    shutil.rmtree(target / "tasks/0006")
    described, arrays = change(Task(task.index, task.split, task.parameters), arrays)
    write_task(target, described, task.record.behaviours, arrays, store.manifest.storage)
    write_root(target, store.manifest, store.provenance)
    return target


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda t, a: (t, replace(a, observation=np.hstack([a.observation] * 2))),
            "task 6: .*observation .* .4., ",
        ),
        (
            lambda t, a: (t, replace(a, success=a.truncated)),
            "task 6: .*success .*, in the first store missing",
        ),
        (lambda t, a: (t, replace(a, episode_seed=None)), "episode_seed .* is missing"),
        (lambda t, a: (replace(t, split="ood"), a), "task 6 is another than in .*: ood"),
        (lambda t, a: (replace(t, parameters={"angle": 0.1}), a), "task 6 is another"),
    ],
)
def test_what_disagrees_is_not_merged(
    collected: Path,
    other: Path,
    tmp_path: Path,
    change: Callable[[Task, TaskArrays], tuple[Task, TaskArrays]],
    words: str,
) -> None:
    strange = changed(other, tmp_path / "strange.zarr", change)
    with pytest.raises(ClwmError, match=words):
        merge([collected, strange], tmp_path / "both.zarr")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["strange.zarr"]


def test_merge_refuses_other_families_and_the_same_episodes(collected: Path, tmp_path: Path) -> None:
    root = json.loads((collected / "zarr.json").read_text())
    assert root["attributes"]["manifest"]["family"] == "point-robot"
    foreign = Path(shutil.copytree(collected, tmp_path / "foreign.zarr"))
    store = open_store(foreign)
    write_root(foreign, store.manifest.model_copy(update={"family": "ant-dir"}), store.provenance)
    with pytest.raises(ClwmError, match=r"is of family ant-dir, .* of point-robot"):
        merge([collected, foreign], tmp_path / "x.zarr")
    few = select(collected, tmp_path / "few.zarr", tasks=[6], episodes=[4])
    with pytest.raises(ClwmError, match=r"task 6 episode 0 is in .*tiny.zarr too"):
        merge([collected, few.path], tmp_path / "x.zarr")
    with pytest.raises(ClwmError, match="at least two"):
        merge([collected], tmp_path / "x.zarr")


def test_episodes_without_seeds_are_told_apart_by_what_happened(
    collected: Path, other: Path, tmp_path: Path
) -> None:
    def without(task: Task, arrays: TaskArrays) -> tuple[Task, TaskArrays]:
        return task, replace(arrays, episode_seed=None, episode_initial_state=None)

    first = select(changed(collected, tmp_path / "a.zarr", without), tmp_path / "a6.zarr", tasks=[6])
    second = select(changed(other, tmp_path / "b.zarr", without), tmp_path / "b6.zarr", tasks=[6])
    assert merge([first.path, second.path], tmp_path / "both.zarr").tasks[6].record.episodes == 9
    with pytest.raises(ClwmError, match="task 6 episode 0 is in"):
        merge([first.path, first.path], tmp_path / "twice.zarr")


def test_delete_episodes(store_path: Path) -> None:
    before = {index: episodes(store_path, index) for index in (0, 6, 12)}
    files = {name: (store_path / name).stat().st_ino for name in snapshot(store_path)}
    store = delete_episodes(store_path, {6: [0, 1, 2], 12: [4]})
    assert episodes(store_path, 0) == before[0]
    assert episodes(store_path, 6) == before[6][3:]
    assert episodes(store_path, 12) == before[12][:4]
    assert store.name == "tiny"
    assert store.record.edited.options == {"task 6": "0-2", "task 12": "4"}
    assert store.tasks[6].record.behaviours == [BehaviourEntry(policy="random", episodes=2)]
    kept = {name: (store_path / name).stat().st_ino for name in snapshot(store_path)}
    assert all(files[name] == kept[name] for name in files if name.startswith("tasks/0000"))
    assert_sound(store_path)
    with pytest.raises(ClwmError, match=r"was made by delete-episodes.*--overwrite"):
        collect(tiny_manifest(), store_path)
    collect(tiny_manifest(), store_path, overwrite=True)
    assert episodes(store_path, 6) == before[6]


@pytest.mark.parametrize(
    ("request_", "words"),
    [
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
    before = snapshot(store_path)
    with pytest.raises(ClwmError, match=words):
        delete_episodes(store_path, request_)
    assert snapshot(store_path) == before
    assert not list(store_path.parent.glob(".*"))


class KilledError(BaseException):
    pass


def test_an_edit_that_dies_anywhere_leaves_the_old_store_or_the_new(
    store_path: Path, collected: Path, tmp_path: Path
) -> None:
    """Dies before each renaming, without any cleaning up, as a killed process does."""
    expected = delete_episodes(Path(shutil.copytree(collected, tmp_path / "x/tiny.zarr")), {6: [0]})
    old = open_store(collected).record.content_sha256
    new = expected.record.content_sha256
    real = Path.rename
    for fatal in range(30):
        calls = 0

        def rename(self: Path, target: Path, fatal: int = fatal) -> Path:
            nonlocal calls
            calls += 1
            if calls > fatal:
                raise KilledError
            return real(self, target)

        with patch.object(Path, "rename", rename), patch("shutil.rmtree"), patch.object(Path, "unlink"):
            try:
                delete_episodes(store_path, {6: [0]})
                survived = True
            except KilledError:
                survived = False
        if store_path.exists():
            assert validate(store_path) == []
            found = open_store(store_path).record.content_sha256
            assert found == (new if survived else old)
        else:
            assert validate(tmp_path / ".tiny.zarr.replaced.partial") == []
        if survived:
            break
        assert delete_episodes(store_path, {6: [0]}).record.content_sha256 == new
        assert_sound(store_path)
        shutil.rmtree(store_path)
        shutil.copytree(collected, store_path)
    assert survived
    assert fatal >= 4  # tasks of the new store, the old one aside, the new one in its place


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


def test_nothing_is_overwritten_and_writers_are_alone(
    collected: Path, store_path: Path, tmp_path: Path
) -> None:
    (tmp_path / "there.zarr").mkdir()
    with pytest.raises(ClwmError, match="is there already"):
        select(collected, tmp_path / "there.zarr")
    with pytest.raises(ClwmError, match="name of a store"):
        select(collected, tmp_path / "what is this.zarr")
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


def test_take_is_what_indexing_says(collected: Path) -> None:
    arrays = open_store(collected).tasks[6].load()
    taken = arrays.take([3, 0])
    expected: list[Episode] = [arrays.episode(3), arrays.episode(0)]
    np.testing.assert_array_equal(taken.observation, np.vstack([e.observation for e in expected]))
    assert taken.episode_start.tolist() == [0, 40]
    with pytest.raises(ValueError, match="only some"):
        TaskArrays.from_episodes([expected[0], replace(expected[1], seed=None)])
