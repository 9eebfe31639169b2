"""Conversion from Python: ``clwm_data.convert_from`` and ``convert_to``, also of a family in a YAML file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import clwm_data
from clwm_data.errors import ClwmError, InvalidInputError

STEPS = 5
DECLARATION = """
name: pendulum-here
env: Pendulum-v1
horizon: 5
tasks:
- {parameters: {g: 9.0}}
- {parameters: {g: 11.0}, split: id}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file of one episode with torques in [-2, 2]."""
    observation = np.zeros((STEPS + 1, 3), np.float32)
    observation[:, 2] = np.arange(STEPS + 1)
    np.savez(
        tmp_path / "log.npz",
        observations=observation[:-1],
        next_observations=observation[1:],
        actions=np.linspace(-2.0, 2.0, STEPS)[:, None],
        rewards=np.arange(STEPS),
        timeouts=np.arange(STEPS) == STEPS - 1,
        note=np.zeros(1),
    )
    return tmp_path / "log.npz"


def test_a_new_family_is_described_by_mappings(file: Path, tmp_path: Path) -> None:
    said: list[str] = []
    done = clwm_data.convert_from(
        file,
        tmp_path / "x.zarr",
        "npz",
        family="arm",
        tasks=[4],
        splits={4: "id"},
        parameters={4: {"mass": 2, "goal": (0, 1)}},
        action_bounds=([-2.0], [2.0]),
        varies="reward",
        horizon=STEPS + 1,
        references={4: (-1.0, 12.0)},
        warn=said.append,
    )
    task = done.store[4]
    assert (task.split, dict(task.parameters)) == ("id", {"mass": 2.0, "goal": (0.0, 1.0)})
    np.testing.assert_allclose(task.load().action[:, 0], [-1, -0.5, 0, 0.5, 1])
    assert not done.store.task_family.dynamics_vary
    assert done.store.task_family.horizon == STEPS + 1
    assert done.store.task_family.reference_returns(4) == (-1.0, 12.0)
    assert said == [f"{file}: not read: note"]
    assert clwm_data.convert_to(done.store.path, tmp_path / "y.npz", "npz") == [str(tmp_path / "y.npz")]
    with np.load(tmp_path / "y.npz") as written:
        np.testing.assert_array_equal(written["reward"], np.arange(STEPS))


@pytest.mark.parametrize("tasks", ["7, 2", [7, 2], np.array([7, 2])], ids=["text", "list", "array"])
def test_files_become_the_tasks_in_the_order_given(tasks: Any, file: Path, tmp_path: Path) -> None:
    with np.load(file) as arrays:
        np.savez(tmp_path / "other.npz", **{**arrays, "rewards": np.full(STEPS, 9.0)})
    done = clwm_data.convert_from(
        tmp_path, tmp_path / "x.zarr", "npz", family="arm", tasks=tasks, action_bounds=(-2, 2), warn=str
    )
    assert {task.task: task.source for task in done.tasks} == {7: "log.npz", 2: "other.npz"}
    assert done.store[2].load().reward.tolist() == [9.0] * STEPS


def test_all_tasks_are_those_that_there_are(file: Path, tmp_path: Path) -> None:
    (tmp_path / "other.npz").write_bytes(file.read_bytes())
    options = {"family": "arm", "action_bounds": (-2, 2), "warn": str}
    done = clwm_data.convert_from(tmp_path, tmp_path / "x.zarr", "npz", tasks="all", **options)
    assert [task.task for task in done.tasks] == [0, 1]


def test_vectors_of_different_lengths_have_no_place_in_npz(file: Path, tmp_path: Path) -> None:
    (tmp_path / "other.npz").write_bytes(file.read_bytes())
    parameters = {0: {"goal": (1.0, 2.0)}, 1: {"goal": 3.0}}
    store = clwm_data.convert_from(
        tmp_path,
        tmp_path / "x.zarr",
        "npz",
        family="arm",
        parameters=parameters,  # type: ignore[arg-type]
        action_bounds=(-2, 2),
        warn=str,
    ).store
    with pytest.raises(InvalidInputError, match="parameter goal has more numbers in some tasks"):
        clwm_data.convert_to(store, tmp_path / "y.npz", "npz")


def test_a_family_may_be_declared_in_a_file(file: Path, tmp_path: Path) -> None:
    """Converted and recorded data know its environments."""
    declared = tmp_path / "here.yaml"
    declared.write_text(DECLARATION)
    converted = clwm_data.convert_from(
        file,
        tmp_path / "x.zarr",
        "npz",
        family=str(declared),
        tasks="1",
        action_bounds=(-2, 2),
        warn=lambda remark: None,
    ).store
    with clwm_data.Recorder(tmp_path / "r.zarr", task=1, family=str(declared)) as recorder:
        recorder.add_episode(np.zeros((3, 3)), np.zeros((2, 1)), np.zeros(2))
    with clwm_data.Recorder(tmp_path / "r.zarr", task=1) as recorder:
        recorder.add_episode(np.zeros((3, 3)), np.zeros((2, 1)), np.zeros(2))
    for store in (converted, clwm_data.open_store(tmp_path / "r.zarr")):
        assert list(clwm_data.validate(store.path)) == []
        assert (store.family, store[1].split, dict(store[1].parameters)) == (
            "pendulum-here",
            "id",
            {"g": 11.0},
        )
        assert store.make_env(1).reset(seed=0)[0].shape == (3,)
    family = clwm_data.get_family(str(declared))
    assert family.task(0).parameters == {"g": 9.0}
    assert clwm_data.get_family("point-robot").name == "point-robot"
    with pytest.raises(ClwmError, match="family pendulum-here has no task 7"):
        clwm_data.Recorder(tmp_path / "q.zarr", task=7, family=str(declared)).__enter__()


def test_the_number_of_discrete_actions_comes_from_the_family(tmp_path: Path) -> None:
    declared = tmp_path / "cart.yaml"
    declared.write_text(
        "name: cart\nenv: CartPole-v1\nhorizon: 9\napply: cart:same\ntasks: [{parameters: {a: 1.0}}]"
    )
    (tmp_path / "cart.py").write_text("def same(env, a):\n    pass\n")
    numbers = np.array([0, 1, 1, 0, 1])
    rows = {"observations": np.zeros((5, 4)), "next_observations": np.zeros((5, 4)), "rewards": np.ones(5)}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        for form, actions in enumerate([numbers, numbers[:, None], np.eye(2, dtype=np.float32)[numbers]]):
            np.savez("cart.npz", **rows, actions=actions, terminals=np.arange(5) == 4)  # type: ignore[arg-type]
            store = clwm_data.convert_from("cart.npz", f"{form}.zarr", "npz", family="cart.yaml").store
            assert store[0].load().stored_action.tolist() == numbers.tolist()


def test_actions_of_a_box_that_may_be_discrete_are_told(tmp_path: Path) -> None:
    """Not refused: numbers of a Box may have such values, too."""
    numbers = np.array([0, 1, 2, 1, 0])
    rows = {"observations": np.zeros((5, 2)), "rewards": np.ones(5), "episode": np.zeros(5)}

    def said(actions: Any, other: Any = None, **options: Any) -> list[str]:
        folder = tmp_path / f"{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        for task, values in enumerate([actions] if other is None else [actions, other]):
            np.savez(folder / f"{task}.npz", **rows, actions=values)
        remarks: list[str] = []
        clwm_data.convert_from(
            folder, folder / "x.zarr", "npz", family="mine", **options, warn=remarks.append
        )
        return [remark for remark in remarks if "discrete" in remark]

    one_hot = np.eye(3, dtype=np.float32)[numbers]
    (remark,) = said(one_hot, one_hot)
    assert "every action is one 1 among 3 entries: read as numbers of a Box" in remark
    assert "(--discrete-actions 3; in Python action_bounds=3)" in remark
    (remark,) = said(np.minimum(numbers, 1).astype(np.float32))
    assert "every action is 0 or 1" in remark
    assert "--discrete-actions 2" in remark
    for quiet in (
        one_hot * 0.5,
        one_hot[[0] * 5],
        np.minimum(one_hot + np.roll(one_hot, 1, axis=0), 1),
        -one_hot,
    ):
        assert said(quiet) == []
    assert said(one_hot, one_hot * 0.5) == []
    assert said(one_hot, action_bounds=3) == said(one_hot, action_bounds=(-1, 1)) == []
    with pytest.raises(
        ClwmError, match=r"outside its bounds .*or how many discrete actions there are \(--disc"
    ):
        said(numbers.astype(np.float32))
    with pytest.raises(ClwmError, match=r"outside its bounds .*in Python action_bounds=\(low, high\)\)$"):
        said(numbers + 0.5)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"format": "nzp"}, "no format is called 'nzp': did you mean npz?"),
        ({"family": None}, "does not name the task family: give family="),
        ({"splits": {0: "test"}}, "splits: task 0: 'test' is not one of train, id, ood"),
        ({"parameters": {0: {"mass": "heavy"}}}, "parameters: task 0: parameter 'mass' is 'heavy'"),
        ({"action_bounds": "4"}, "action_bounds: '4' is neither"),
        ({"action_bounds": True}, "action_bounds: True is neither"),
        (
            {"references": {0: (1.0, 1.0)}},
            "the references of task 0: random and expert return are 1.0 and 1.0",
        ),
        ({"references": {0: (1.0,)}}, "references: expected two numbers for each task"),
        ({"horizon": 0}, "horizon: 0 is not a number of steps"),
        ({"horizon": 4}, "episode 0: has 5 steps, --horizon ends after 4"),
        ({"tasks": ["0", 1]}, "tasks: '0': expected whole numbers, or text such as 0-4,7"),
        ({"tasks": [-1]}, "expected whole numbers from 0 to 99999"),
        ({"tasks": 0.5}, "tasks: 0.5: expected whole numbers"),
        ({"tasks": [True]}, "expected whole numbers"),
        ({"tasks": [1, 1]}, "a task is named twice"),
        ({"varies": "both"}, "varies: 'both' is neither dynamics nor reward"),
        ({"action_bounds": None}, "in Python action_bounds=(low, high)"),
        ({"format": "tensors", "splits": "train:0"}, "tensors take splits, parameters and actions from"),
        ({"format": "minari", "action_bounds": 3}, "Minari's datasets tell what actions there are"),
    ],
)
def test_mistakes_are_one_line(arguments: dict[str, Any], words: str, file: Path, tmp_path: Path) -> None:
    usual: dict[str, Any] = {"format": "npz", "family": "arm", "action_bounds": (-2, 2)}
    with pytest.raises(InvalidInputError) as caught:
        clwm_data.convert_from(file, tmp_path / "x.zarr", **{**usual, **arguments}, warn=lambda remark: None)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "x.zarr").exists()


def test_a_format_to_write_is_one_that_can_be_written(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="'hdf5': it is one of minari, tensors, npz, parquet"):
        clwm_data.convert_to(tmp_path, tmp_path / "y", "hdf5")  # type: ignore[arg-type]
