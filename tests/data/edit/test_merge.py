from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from clwm_data.collection.collector import collect
from clwm_data.edit import merge, select
from clwm_data.errors import ClwmError
from clwm_data.families import Task
from clwm_data.manifest import BehaviourEntry, Storage
from clwm_data.opening import open_store
from clwm_data.store import TaskArrays
from clwm_data.store.replay import replay
from clwm_data.store.root_writer import write_root
from clwm_data.store.writer import write_task
from tests.conftest import tiny_manifest
from tests.data.edit.editing import assert_sound, episodes


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


def test_episodes_of_one_seed_by_other_policies_are_told(collected: Path, tmp_path: Path) -> None:
    manifest = tiny_manifest(name="louder")
    louder = [manifest.behaviours[0].model_copy(update={"noise": 1.0}), *manifest.behaviours[1:]]
    collect(manifest.model_copy(update={"behaviours": louder}), tmp_path / "louder.zarr")
    with pytest.raises(ClwmError, match="from a manifest with another `seed:`"):
        merge([collected, tmp_path / "louder.zarr"], tmp_path / "both.zarr")
    assert not (tmp_path / "both.zarr").exists()


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


@pytest.mark.parametrize("compression", ["none", "zstd"])
def test_all_tasks_are_stored_as_the_manifest_says(
    collected: Path, tmp_path: Path, compression: Literal["none", "zstd"]
) -> None:
    """Whichever store is the first; the values are the same."""
    storage = Storage(compression="zstd")
    collect(tiny_manifest(tasks=(6, 30), seed=1).model_copy(update={"storage": storage}), tmp_path / "z.zarr")
    stores = [collected, tmp_path / "z.zarr"]
    both = merge(stores if compression == "none" else stores[::-1], tmp_path / "both.zarr")
    assert both.manifest.storage.compression == compression
    for index in (0, 6, 12, 30):
        codecs = json.loads((both.path / f"tasks/{index:04}/reward/zarr.json").read_text())["codecs"]
        assert ("zstd" in [codec["name"] for codec in codecs]) == (compression == "zstd")
    assert episodes(both.path, 0) == episodes(collected, 0)
    assert episodes(both.path, 30) == episodes(tmp_path / "z.zarr", 30)
    assert_sound(both.path)


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
        (lambda t, a: (replace(t, split="ood"), a), "task 6 differs from that in .*: ood"),
        (lambda t, a: (replace(t, parameters={"angle": 0.1}), a), "task 6 differs"),
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
    for alone in ([collected], collected, str(collected), store):
        with pytest.raises(ClwmError, match="at least two"):
            merge(alone, tmp_path / "x.zarr")


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
