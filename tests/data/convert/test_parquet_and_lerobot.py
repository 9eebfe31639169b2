"""From Parquet and from LeRobot: files made by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from clwm_data.convert.conversion import convert_from, convert_to
from clwm_data.convert.lerobot import lerobot_source
from clwm_data.convert.parquet import to_parquet
from clwm_data.convert.parquet_source import parquet_source
from clwm_data.convert.target import write_converted
from clwm_data.errors import ClwmError
from clwm_data.families.base import Parameters
from clwm_data.opening import open_store
from clwm_data.store.validate import validate
from tests.conftest import Clwm

#: Task, episode and frames of a dataset of a robot with two joints.
EPISODES = [(0, 0, 4), (1, 1, 3), (0, 2, 5)]


def lerobot(folder: Path, *, rewards: bool = True, version: str = "v3.0", scale: float = 90.0) -> Path:
    """A dataset: joints in degrees, the state of frame f of episode e is [e, f] / 10."""
    rows: dict[str, list[Any]] = {}
    for task, episode, frames in EPISODES:
        for frame in range(frames):
            row = {
                "observation.state": [episode / 10, frame / 10],
                "action": [scale * (-1) ** frame, float(frame)],
                "timestamp": frame / 30,
                "frame_index": frame,
                "episode_index": episode,
                "index": len(rows.get("index", [])),
                "task_index": task,
                **(
                    {"next.reward": float(frame == frames - 2), "next.done": frame == frames - 1}
                    if rewards
                    else {}
                ),
            }
            for name, value in row.items():
                rows.setdefault(name, []).append(value)
    vector = pa.list_(pa.float32(), 2)
    table = pa.table(
        {name: pa.array(v, vector if isinstance(v[0], list) else None) for name, v in rows.items()}
    )
    (folder / "data/chunk-000").mkdir(parents=True)
    (folder / "meta").mkdir()
    # Two files: episode 1 ends in the middle of the second.
    pq.write_table(table.slice(0, 5), folder / "data/chunk-000/file-000.parquet")
    pq.write_table(table.slice(5), folder / "data/chunk-000/file-001.parquet")
    pq.write_table(
        pa.table({"task_index": [0, 1], "task": ["open the drawer", "close it"]}),
        folder / "meta/tasks.parquet",
    )
    features = {name: {"dtype": "float32", "shape": [1]} for name in rows}
    features["observation.images.top"] = {"dtype": "video", "shape": [3]}
    info = {"codebase_version": version, "robot_type": "so100", "total_frames": 12, "features": features}
    (folder / "meta/info.json").write_text(json.dumps(info))
    return folder


def test_a_lerobot_dataset_becomes_tasks_with_every_step_but_the_last(tmp_path: Path) -> None:
    converted = write_converted(lerobot_source(lerobot(tmp_path / "arm")), tmp_path / "a.zarr", "arm")
    store = converted.store
    assert not list(validate(tmp_path / "a.zarr"))
    assert [(t.source, t.task, t.episodes, t.transitions) for t in converted.tasks] == [
        ("open the drawer", 0, 2, 3 + 4),
        ("close it", 1, 1, 2),
    ]
    first, third = store[0].load()
    np.testing.assert_allclose(first.observation, [[0, 0], [0, 0.1], [0, 0.2], [0, 0.3]], atol=1e-7)
    # -90 to 90 degrees, and 0 to 4, become -1 to 1.
    np.testing.assert_allclose(first.action, [[1, -1], [-1, -0.5], [1, 0]], atol=1e-6)
    assert third.reward.tolist() == [0, 0, 0, 1]
    assert not third.terminated.any()
    edited = store.record.edited
    assert edited is not None
    assert edited.options["actions"] == "scaled to [-1, 1] from the data's [-90.0, 0.0] to [90.0, 4.0]"
    assert store[0].record.behaviours[0].policy == "lerobot so100"


def test_several_datasets_are_a_task_each_and_scaled_alike(clwm: Clwm, tmp_path: Path) -> None:
    lerobot(tmp_path / "arms/arm2", scale=45.0)
    lerobot(tmp_path / "arms/arm10", rewards=False)
    done = clwm(
        "convert", "arms", "a.zarr", "--from", "lerobot", "--family", "arms", "--splits", "train:0,id:1"
    )
    assert done.returncode == 0, done.stderr
    assert [line.split()[:3] for line in done.stdout.splitlines()[2:4]] == [
        ["arm2", "0", "train"],
        ["arm10", "1", "id"],
    ]
    store = open_store(tmp_path / "a.zarr")
    assert store[0].load().action[:, 0].max() == pytest.approx(0.5)
    assert not store[1].load().reward.any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("version", "version v2.1, only version 3 can be read"),
        ("cut", "says 12 frames, the files hold 5: download it all"),
        ("empty", "holds no data/chunk-000/file-000.parquet"),
        ("text", "file-001.parquet: cannot be read"),
        ("info", "info.json: cannot be read"),
        ("state", "has no observation.state or no action"),
        ("order", "episode 2: its frames are not one after another"),
        ("reward", "next.reward must be in both or in none"),
        ("nothing", "holds no LeRobot dataset"),
    ],
)
def test_damaged_lerobot_datasets_are_refused_in_a_line(tmp_path: Path, change: str, message: str) -> None:
    folder = lerobot(tmp_path / "arm", version="v2.1" if change == "version" else "v3.0")
    last = folder / "data/chunk-000/file-001.parquet"
    match change:
        case "cut":
            last.unlink()
        case "empty":
            last.unlink()
            (folder / "data/chunk-000/file-000.parquet").unlink()
        case "text":
            last.write_text("no Parquet")
        case "info":
            (folder / "meta/info.json").write_text("{")
        case "state":
            for file in last.parent.iterdir():
                pq.write_table(pq.read_table(file).drop(["observation.state"]), file)
        case "order":
            table = pq.read_table(last)
            pq.write_table(pa.concat_tables([table.slice(0, 4), table.slice(5), table.slice(4, 1)]), last)
        case "reward":
            pq.write_table(pq.read_table(last).drop(["next.reward"]), last)
        case "nothing":
            (folder / "meta/info.json").unlink()
    with pytest.raises(ClwmError, match=message.replace(".", r"\.")) as caught:
        write_converted(lerobot_source(folder), tmp_path / "a.zarr", "arm")
    assert len(str(caught.value).splitlines()) == 1
    assert not (tmp_path / "a.zarr").exists()


def test_a_store_and_back_from_parquet(collected: Path, tmp_path: Path) -> None:
    to_parquet(collected, tmp_path / "rows")
    again = write_converted(parquet_source(tmp_path / "rows"), tmp_path / "a.zarr", "another").store
    store = open_store(collected)
    assert [(t.index, t.split, t.parameters) for t in again] == [
        (t.index, t.split, t.parameters) for t in store
    ]
    for task in store:
        for episode, back in zip(task.load(), again[task.index].load(), strict=True):
            # Parquet holds no observation after the last step.
            np.testing.assert_array_equal(back.observation, episode.observation[:-1])
            np.testing.assert_array_equal(back.action, episode.action[:-1])
            np.testing.assert_array_equal(back.reward, episode.reward[:-1])


def test_tasks_that_do_not_share_parameters_come_back_from_parquet(tmp_path: Path) -> None:
    """Parquet has a column for all tasks where any has a value; the others' rows are empty there."""
    rng = np.random.default_rng(0)
    parameters: dict[int, Parameters] = {
        0: {"mass": 1.0},
        1: {"length": 2.0, "mass": 1.5},
        2: {"goal": (1.0, 2.0), "place": (3.0,)},
        3: {"goal": 3.0, "place": 1.0},
        4: {"goal": (3.0,)},
        5: {"goal": 4.0},
    }
    for task in parameters:
        (tmp_path / "arrays").mkdir(exist_ok=True)
        np.savez(
            tmp_path / f"arrays/{task}.npz",
            observations=rng.normal(size=(20, 2)).astype(np.float32),
            actions=rng.uniform(-1, 1, (20, 1)).astype(np.float32),
            rewards=rng.normal(size=20).astype(np.float32),
            timeouts=np.arange(20) % 10 == 9,
        )
    source, target = tmp_path / "arrays", tmp_path / "a.zarr"
    convert_from(source, target, "npz", family="arms", splits="train:0-1,3-4,id:2,5", parameters=parameters)
    convert_to(target, tmp_path / "rows", "parquet")
    again = convert_from(tmp_path / "rows", tmp_path / "b.zarr", "parquet", family="arms").store
    assert {task.index: (task.split, task.parameters) for task in again} == {
        task: ("id" if task in (2, 5) else "train", parameters[task]) for task in parameters
    }


@pytest.mark.parametrize(
    ("steps", "lengths"),
    [
        (None, [2, 1, 2, 1]),  # rows 0-2 and 3-4, twice; the last of an episode is dropped unless it falls
        ([[0, 1, 2, 0, 1], [0, 1, 2, 0, 1]], [2, 1, 2, 1]),
        ([[0, 1, 2, 0, 1], [2, 3, 4, 0, 1]], [2, 4, 1]),
        ([list("abcde"), list("fghij")], [2, 1, 2, 1]),  # something else that is called so
    ],
)
def test_a_file_begins_an_episode_unless_its_steps_go_on(
    tmp_path: Path, steps: list[list[Any]] | None, lengths: list[int]
) -> None:
    """Both files have episodes 7 and 9 of task 4; the second begins with the number that ended the first."""
    numbers = [[7, 7, 7, 9, 9], [9, 9, 9, 7, 7]]
    for part in range(2):
        columns: dict[str, Any] = {"dones": None, "episode_id": numbers[part], "task": [4] * 5}
        if steps is not None:
            columns["step"] = steps[part]
        foreign(tmp_path / "w", **columns).joinpath("walker1.parquet").rename(tmp_path / f"w/{part}.parquet")
    store = write_converted(parquet_source(tmp_path / "w"), tmp_path / "a.zarr", "walker").store
    assert [len(episode.reward) for episode in store[4].load()] == lengths


def foreign(folder: Path, **columns: Any) -> Path:
    """A file of a walker: episodes of 3 and 2 steps; the second one falls."""
    rows = {
        "obs": [[float(step), 0.5] for step in range(5)],
        "actions": [[0.25 * step] for step in range(5)],
        "rewards": [1.0] * 5,
        "dones": [False, False, False, False, True],
        "episode_id": [7, 7, 7, 9, 9],
        **columns,
    }
    folder.mkdir(exist_ok=True)
    pq.write_table(pa.table({n: v for n, v in rows.items() if v is not None}), folder / "walker1.parquet")
    return folder


def test_files_of_others(tmp_path: Path) -> None:
    store = write_converted(parquet_source(foreign(tmp_path / "w")), tmp_path / "a.zarr", "walker").store
    first, second = store[0].load()
    assert first.observation.tolist() == [[0, 0.5], [1, 0.5], [2, 0.5]]
    assert (second.action.tolist(), second.terminated.tolist()) == ([[0.75], [1.0]], [False, True])


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"obs": None}, "has no observations; it has: "),
        ({"obs": [[0.0], [1.0, 2.0], [1.0], [1.0], [1.0]]}, "obs: row 1 holds 2 values, row 0 1"),
        ({"rewards": [1.0, None, 1.0, 1.0, 1.0]}, "rewards: has 1 missing values"),
        ({"rewards": list("abcde")}, "rewards: holds string, neither numbers"),
        ({"actions": [[2.0]] * 5}, "outside its bounds"),
        ({"rewards": [1.0, float("nan"), 1.0, 1.0, 1.0]}, "step 1: reward holds nan"),
        ({"actions": [0, 1, 0, 1, 2]}, "say how many discrete actions there are"),
        ({"actions": [False, True, False, True, True]}, "say how many discrete actions there are"),
    ],
)
def test_files_that_hold_something_else_are_refused(
    tmp_path: Path, columns: dict[str, Any], message: str
) -> None:
    with pytest.raises(ClwmError, match=message):
        write_converted(parquet_source(foreign(tmp_path / "w", **columns)), tmp_path / "a.zarr", "walker")
    assert not (tmp_path / "a.zarr").exists()


@pytest.mark.parametrize(
    ("one", "other", "message"),
    [
        ({}, {"timeouts": [False] * 5}, "its columns are not those of .*timeouts must be in both or in none"),
        ({"parameter.mass": [1.0] * 5}, {"parameter.mass": [2.0] * 5}, "task 4 has other parameters"),
        ({}, {}, "task 4 is of the split train, in files before it of id"),
    ],
)
def test_files_that_contradict_each_other_are_refused(
    tmp_path: Path, one: dict[str, Any], other: dict[str, Any], message: str
) -> None:
    for name, columns in (("id", one), ("train", other)):
        file = foreign(tmp_path / "w", task=[4] * 5, **columns) / "walker1.parquet"
        file.rename(file.with_name(f"{name}-0.parquet"))
    with pytest.raises(ClwmError, match=message):
        parquet_source(tmp_path / "w")


def test_numbers_of_discrete_actions(tmp_path: Path) -> None:
    source = parquet_source(foreign(tmp_path / "w", actions=[0, 1, 0, 1, 2]))
    store = write_converted(source.with_discrete_actions(3), tmp_path / "a.zarr", "keys").store
    assert [episode.stored_action.tolist() for episode in store[0].load()] == [[0, 1], [1, 2]]
    to_parquet(tmp_path / "a.zarr", tmp_path / "rows")
    again = write_converted(parquet_source(tmp_path / "rows"), tmp_path / "b.zarr", "keys").store
    assert again[0].record.discrete_actions == 3
    with pytest.raises(ClwmError, match="step 1: action is 2, expected a whole number from 0 to 1"):
        write_converted(source.with_discrete_actions(2), tmp_path / "c.zarr", "keys")


def test_actions_of_lerobot_that_may_be_discrete_are_told(tmp_path: Path) -> None:
    """They are scaled from the lowest and highest in the data, and then look like no others."""
    folder = lerobot(tmp_path / "arm")

    def written(rows: Any, change: Any = lambda source: source) -> tuple[list[str], Any]:
        for file in sorted((folder / "data/chunk-000").iterdir()):
            table = pq.read_table(file)
            frames = table["frame_index"].to_pylist()
            actions = pa.array([np.atleast_1d(rows(frame)).tolist() for frame in frames])
            index = table.schema.get_field_index("action")
            pq.write_table(table.set_column(index, "action", actions), file)
        target = tmp_path / f"{len(list(tmp_path.iterdir()))}.zarr"
        done = write_converted(change(lerobot_source(folder)), target, "arm")
        return list(done.remarks), done.store

    (remark,), _ = written(lambda frame: np.eye(3)[frame % 3])
    assert "every action is one 1 among 3 entries" in remark
    (remark,), _ = written(lambda frame: float(frame % 4))
    assert "every action is a whole number from 0 to 3" in remark
    assert "--discrete-actions 4" in remark
    remarks, store = written(lambda frame: float(frame % 4), lambda source: source.with_discrete_actions(4))
    assert remarks == []
    assert store[0].load().stored_action.tolist() == [0, 1, 2, 0, 1, 2, 3]
    assert store.record.edited.options["actions"] == "numbers of 4 discrete actions"
    bounds = [(0.0, 3.0)]
    assert written(lambda frame: float(frame % 4), lambda source: source.with_action_bounds(bounds))[0] == []
    assert written(lambda frame: frame / 2)[0] == []


def test_tasks_are_chosen_and_those_that_are_not_there_are_named(tmp_path: Path) -> None:
    folder = lerobot(tmp_path / "arm")
    store = write_converted(lerobot_source(folder, [1]), tmp_path / "a.zarr", "arm").store
    assert list(store.tasks) == [1]
    with pytest.raises(ClwmError, match=r"has no task 2, ?7; it has 0-1"):
        lerobot_source(folder, [1, 2, 7])


def test_datasets_with_other_actions_are_not_joined(tmp_path: Path) -> None:
    lerobot(tmp_path / "arms/a")
    other = lerobot(tmp_path / "arms/b")
    for file in (other / "data/chunk-000").iterdir():
        table = pq.read_table(file)
        narrow = pa.array([row[:1] for row in table["action"].to_pylist()], pa.list_(pa.float32(), 1))
        pq.write_table(table.set_column(table.schema.get_field_index("action"), "action", narrow), file)
    with pytest.raises(ClwmError, match=r"its actions have 1 entry, those of .* 2: convert them apart"):
        lerobot_source(tmp_path / "arms")


def test_metadata_that_names_no_tasks_is_refused(tmp_path: Path) -> None:
    goal = pa.field("parameter.goal", pa.list_(pa.float64()), metadata={"clwm.numbers": "0-x\n"})
    rows = {"task": [0, 0], "episode": [0, 0], "obs": [[0.0]] * 2, "action": [[0.0]] * 2, "reward": [0.0] * 2}
    table = pa.table(rows).append_column(goal, pa.array([[1.0]] * 2, goal.type))
    pq.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(ClwmError, match=r"a\.parquet: parameter\.goal: clwm\.numbers: .*'0-x'") as caught:
        parquet_source(tmp_path / "a.parquet")
    assert len(str(caught.value).splitlines()) == 1


def test_names_of_tasks_are_told_to_be_none(tmp_path: Path) -> None:
    rows = {"obs": [[0.0]] * 4, "action": [[0.0]] * 4, "reward": [0.0] * 4, "terminated": [0, 1, 0, 1]}
    pq.write_table(pa.table({**rows, "task": ["reach"] * 2 + ["push"] * 2}), tmp_path / "a.parquet")
    source = parquet_source(tmp_path / "a.parquet")
    assert list(source.tasks) == [0]
    assert any("column task holds no whole numbers: the file is read as one" in r for r in source.remarks)
