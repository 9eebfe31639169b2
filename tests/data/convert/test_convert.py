from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from clwm_data.collection.collector import collect
from clwm_data.convert.minari import from_minari, to_minari
from clwm_data.convert.npz import to_npz
from clwm_data.convert.tables import TaskTable
from clwm_data.convert.tensors import episode_lengths, from_tensors
from clwm_data.errors import ClwmError, InvalidInputError
from clwm_data.manifest import BehaviourEntry, Manifest
from clwm_data.opening import open_store
from clwm_data.store import Store
from clwm_data.store.replay import replay
from clwm_data.store.summary import missing_provenance
from clwm_data.store.validate import validate
from tests.conftest import Clwm

minari = pytest.importorskip("minari")
pytest.importorskip("h5py")


def rows(store: Store, index: int) -> torch.Tensor:
    """A task in the layout of the published datasets."""
    parts = []
    for e in store.tasks[index].load():
        columns = [e.observation[:-1], e.action, e.reward[:, None], e.observation[1:], e.terminated[:, None]]
        parts.append(np.hstack([column.astype(np.float32) for column in columns]))
    return torch.from_numpy(np.vstack(parts))


@pytest.fixture(scope="module")
def solved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with successes."""
    path = tmp_path_factory.mktemp("solved") / "solved.zarr"
    scripted = [BehaviourEntry(policy="scripted", episodes=1), BehaviourEntry(policy="random", episodes=1)]
    collect(Manifest(name="solved", family="mw-reach", tasks=[2, 44], behaviours=scripted), path)
    return path


@pytest.fixture
def dense(tmp_path: Path) -> Path:
    """A store of a family with a dense reward beside the sparse one."""
    mixture = [BehaviourEntry(policy="scripted", episodes=2)]
    manifest = Manifest(name="dense", family="point-robot-sparse", tasks=[3, 4], behaviours=mixture)
    return collect(manifest, tmp_path / "dense.zarr").path


def test_minari_holds_the_dense_reward(dense: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    to_minari(dense, tmp_path)
    dataset = minari.load_dataset("dense/task-0003-v0")
    for written, stored in zip(dataset, open_store(dense).tasks[3].load(), strict=True):
        np.testing.assert_array_equal(written.infos["dense_reward"][1:], stored.dense_reward)


@pytest.mark.parametrize("which", ["collected", "solved", "dense"])
def test_to_minari_and_back_is_the_same_store(
    which: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    path = request.getfixturevalue(which)
    store = open_store(path)
    names = to_minari(path, tmp_path / "minari")
    assert names == [f"{store.name}/task-{index:04d}-v0" for index in store.tasks]
    again = from_minari(tmp_path / "minari" / store.name, tmp_path / "again.zarr").store
    assert again.record == store.record
    assert {name: (again.path / name).read_bytes() for name in files(again.path)} == {
        name: (path / name).read_bytes() for name in files(path)
    }


def test_a_part_of_a_store_in_minari_says_so(collected: Path, tmp_path: Path) -> None:
    first, *others = to_minari(collected, tmp_path / "minari")
    for name in others:
        shutil.rmtree(tmp_path / "minari" / name)
    source = tmp_path / "minari" / first.split("/")[0]
    done = from_minari(source, tmp_path / "again.zarr")
    (index,) = done.store.tasks
    assert done.remarks == [f"{source}: holds a part of the store that it was written from: task {index}"]
    assert done.store[index].record == open_store(collected)[index].record
    (told,) = from_minari(source.parent / source.name, tmp_path / "b.zarr", "mine").remarks
    assert told == f"{source}: holds a store, which comes back as it was without options"
    with pytest.raises(InvalidInputError, match="name the task family of these datasets with --family"):
        from_minari(source, tmp_path / "c.zarr", table=TaskTable({0: "id"}))


def files(path: Path) -> list[str]:
    return sorted(str(file.relative_to(path)) for file in path.rglob("*") if file.is_file())


def test_minari_datasets_of_two_stores_are_not_mixed(collected: Path, dense: Path, tmp_path: Path) -> None:
    for store in (collected, dense):
        to_minari(store, tmp_path / "minari")
    with pytest.raises(InvalidInputError, match="is of another store than"):
        from_minari(tmp_path / "minari", tmp_path / "again.zarr")
    assert not (tmp_path / "again.zarr").exists()


def test_minari_reads_what_was_written(solved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    to_minari(solved, tmp_path)
    assert sorted(minari.list_local_datasets()) == ["solved/task-0002-v0", "solved/task-0044-v0"]
    dataset = minari.load_dataset("solved/task-0044-v0")
    assert (dataset.total_episodes, dataset.total_steps) == (2, 400)
    for there, here in zip(dataset, open_store(solved).tasks[44].load(), strict=True):
        np.testing.assert_array_equal(there.observations, here.observation)
        np.testing.assert_array_equal(there.actions, here.action)
        np.testing.assert_array_equal(there.rewards, here.reward)
        np.testing.assert_array_equal(there.truncations, here.truncated)
        np.testing.assert_array_equal(there.infos["success"][1:], here.success)
    env = dataset.recover_environment()
    assert env.unwrapped.task.index == 44


def test_writing_minari_leaves_the_registered_environment_as_it_was(collected: Path, tmp_path: Path) -> None:
    import gymnasium

    to_minari(collected, tmp_path)
    assert gymnasium.spec("clwm/point-robot-v0").kwargs == {"family": "point-robot"}


def test_altered_minari_data_does_not_pass_as_the_original(collected: Path, tmp_path: Path) -> None:
    import h5py

    to_minari(collected, tmp_path)
    file = next((tmp_path / "tiny").glob("task-0006*/data/*.hdf5"))
    with h5py.File(file, "a") as opened:
        opened["episode_1/rewards"][3] += 0.5
    with pytest.raises(ClwmError, match="task-0006-v0: its data is not what was written"):
        from_minari(tmp_path / "tiny", tmp_path / "again.zarr")
    assert not (tmp_path / "again.zarr").exists()
    store = from_minari(tmp_path / "tiny", tmp_path / "other.zarr", "point-robot", [0, 6, 12]).store
    assert validate(store.path) == []
    assert store.provenance.command == ""
    assert store.record.edited.operation == "convert"
    assert [source.name for source in store.record.edited.sources] == [
        "tiny/task-0000-v0, tiny/task-0006-v0, tiny/task-0012-v0"
    ]


def test_minari_datasets_of_others(tmp_path: Path) -> None:
    """Actions in [-2, 4], float64, an episode that breaks off, one terminated and truncated at once."""
    from gymnasium.spaces import Box, Discrete, MultiBinary
    from minari.data_collector.episode_buffer import EpisodeBuffer
    from minari.dataset.minari_storage import MinariStorage

    def write(folder: Path, action_space: object) -> None:
        folder.mkdir(parents=True)
        storage = MinariStorage.new(
            folder, observation_space=Box(-1e9, 1e9, (3,), np.float64), action_space=action_space
        )
        storage.update_episodes(
            EpisodeBuffer(
                seed=7,
                observations=np.arange(12.0).reshape(4, 3),
                actions=np.array([[-2.0], [1.0], [4.0]]) if isinstance(action_space, Box) else [0, 1, 1],
                rewards=np.arange(3.0),
                terminations=[False, False, end],
                truncations=[False, False, end],
            )
            for end in (False, True)
        )
        storage.update_metadata({"dataset_id": "a/b-v0", "minari_version": "0.5.4", "author": {"Ann"}})

    write(tmp_path / "m/x/data", Box(-2.0, 4.0, (1,), np.float64))
    with pytest.raises(ClwmError, match="--family"):
        from_minari(tmp_path / "m", tmp_path / "s.zarr")
    with pytest.raises(ClwmError, match="holds 1 dataset, but --tasks names 2 tasks"):
        from_minari(tmp_path / "m", tmp_path / "s.zarr", "elsewhere", [1, 2])
    store = from_minari(tmp_path / "m", tmp_path / "s.zarr", "elsewhere").store
    assert validate(store.path) == []
    arrays = store.tasks[0].load()
    assert arrays.action[:, 0].tolist() == [-1.0, 0.0, 1.0] * 2
    assert arrays.terminated.tolist() == [False] * 5 + [True]
    assert not arrays.truncated.any()
    assert arrays.episode_seed is None
    assert store.manifest.authors == ["Ann"]
    with pytest.raises(ClwmError, match="its family elsewhere is not known"):
        replay(store.path, 1)
    metadata = json.loads((tmp_path / "m/x/data/metadata.json").read_text())
    del metadata["action_space"]
    (tmp_path / "m/x/data/metadata.json").write_text(json.dumps({**metadata, "env_spec": "{}"}))
    with pytest.raises(ClwmError, match="names no spaces"):
        from_minari(tmp_path / "m", tmp_path / "t.zarr", "elsewhere")
    write(tmp_path / "n/x/data", Discrete(2))
    numbers = from_minari(tmp_path / "n", tmp_path / "n.zarr", "keys").store
    assert numbers[0].record.discrete_actions == 2
    assert numbers[0].load().stored_action.tolist() == [0, 1, 1] * 2
    write(tmp_path / "d/x/data", MultiBinary(2))
    with pytest.raises(ClwmError, match="only Box and Discrete actions"):
        from_minari(tmp_path / "d", tmp_path / "t.zarr", "elsewhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ClwmError, match="empty: holds no Minari dataset"):
        from_minari(tmp_path / "empty", tmp_path / "t.zarr")
    with pytest.raises(ClwmError, match="nowhere: does not exist"):
        from_minari(tmp_path / "nowhere", tmp_path / "t.zarr")


def test_published_tensors_give_the_episodes_back(collected: Path, tmp_path: Path) -> None:
    store = open_store(collected)
    (tmp_path / "published").mkdir()
    for index in store.tasks:
        torch.save(rows(store, index), tmp_path / f"published/goal_{index}.pt")
    (tmp_path / "published/readme.txt").write_text("no tensor")
    (tmp_path / "published/._goal_9.pt").write_text("litter of a system")
    converted = from_tensors(tmp_path / "published", tmp_path / "c.zarr", "point-robot").store
    assert validate(converted.path) == []
    for index, task in store.tasks.items():
        assert converted.tasks[index].parameters == task.parameters
        there, here = converted.tasks[index].load(), task.load()
        for name in ("observation", "action", "reward", "terminated", "truncated", "episode_length"):
            np.testing.assert_array_equal(getattr(there, name), getattr(here, name))
    assert any("no seeds in tasks 0,6,12" in line for line in missing_provenance(converted))
    assert any("no command line" in line for line in missing_provenance(converted))
    few = from_tensors(tmp_path / "published", tmp_path / "few.zarr", "point-robot", [6]).store
    assert list(few.tasks) == [6]


@settings(max_examples=50, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 12), min_size=1, max_size=10),
    horizon=st.integers(1, 12),
    terminated=st.lists(st.booleans(), min_size=10, max_size=10),
)
def test_episode_ends_are_inferred(lengths: list[int], horizon: int, terminated: list[bool]) -> None:
    """Episodes within the horizon come back; longer runs are cut where the horizon is reached."""
    position, before, after, done, expected = 0.0, [], [], [], []
    for length, ended in zip(lengths, terminated, strict=False):
        position += 100.0  # a reset
        for step in range(length):
            before.append([position])
            position += 1.0
            after.append([position])
            done.append(ended and step == length - 1)
        while length > horizon:
            expected.append(horizon)
            length -= horizon
        expected.append(length)
    found = episode_lengths(
        np.array(before, np.float32), np.array(after, np.float32), np.array(done), horizon
    )
    assert found.tolist() == expected


def test_bad_tensors_are_refused(collected: Path, tmp_path: Path) -> None:
    good = rows(open_store(collected), 6)

    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (Path(tmp_path / "pwned"),)  # type: ignore[return-value]

    out_of_range = good.clone()
    out_of_range[17, 2] = 1.5
    infinite = good.clone()
    infinite[3, 0] = float("inf")
    cases = {
        "columns, 8 needed": (good[:, :7], "is it of another family"),
        "type": (good.double(), "expected one float32 tensor"),
        "list": ([good], "expected one float32 tensor"),
        "empty": (good[:0], "has shape"),
        "pickle": (Evil(), "cannot be read as a plain tensor"),
        "action": (out_of_range, r"row 17: action is not within \[-1, 1\]"),
        "infinite": (infinite, "row 3: value is not finite"),
        "flag": (good + torch.tensor([0.0] * 7 + [0.5]), "row 0: terminated is not 0 or 1"),
    }
    for name, (content, words) in cases.items():
        folder = tmp_path / name
        folder.mkdir()
        torch.save(content, folder / "task6.pth")
        with pytest.raises(ClwmError, match=words):
            from_tensors(folder, tmp_path / "x.zarr", "point-robot")
        assert not (tmp_path / "x.zarr").exists()
    assert not (tmp_path / "pwned").exists()
    shutil.copy(tmp_path / "action/task6.pth", tmp_path / "action/other-6.pth")
    with pytest.raises(ClwmError, match=r"is of task 6, like other-6\.pth"):
        from_tensors(tmp_path / "action", tmp_path / "x.zarr", "point-robot")
    torch.save(good, tmp_path / "empty/nameless.pt")
    with pytest.raises(ClwmError, match="its name has no number"):
        from_tensors(tmp_path / "empty", tmp_path / "x.zarr", "point-robot")
    with pytest.raises(ClwmError, match="is not a folder"):
        from_tensors(tmp_path / "nowhere", tmp_path / "x.zarr", "point-robot")


def test_npz(collected: Path, tmp_path: Path) -> None:
    store = open_store(collected)
    to_npz(collected, tmp_path / "x.npz")
    with np.load(tmp_path / "x.npz", allow_pickle=False) as loaded:
        for name, array in store.to_arrays().items():
            np.testing.assert_array_equal(loaded[name], array)
        assert loaded["task_index"].tolist() == [0, 6, 12]
        assert loaded["task_split"].tolist() == ["ood", "id", "train"]
        assert loaded["parameter_goal"].shape == (3, 2)
        assert loaded["parameter_angle"][1] == store.tasks[6].parameters["angle"]
    with pytest.raises(ClwmError, match="is there already"):
        to_npz(collected, tmp_path / "x.npz")


def test_command(collected: Path, clwm: Clwm, tmp_path: Path) -> None:
    result = clwm("convert", collected, "m", "--to", "minari")
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[0] == "tiny/task-0000-v0"
    result = clwm("convert", "m/tiny", "again.zarr", "--from", "minari")
    assert result.returncode == 0, result.stderr
    header, _, *lines, last = result.stdout.splitlines()
    assert header.split() == ["source", "task", "split", "episodes", "transitions", "mean", "return"]
    assert [line.split()[:5] for line in lines][1] == ["task-0006-v0", "6", "id", "5", "200"]
    assert last == "again.zarr: 3 tasks, 600 transitions"
    assert clwm("convert", collected, "x.npz", "--to", "npz").returncode == 0
    for arguments in (
        [],
        ["--from", "tensors"],
        ["--to", "npz", "--family", "x"],
        ["--from", "a", "--to", "b"],
    ):
        assert clwm("convert", collected, "y", *arguments).returncode == 2
    info = json.loads(clwm("info", "again.zarr", "--json").stdout)
    assert info["content_sha256"] == open_store(collected).record.content_sha256
