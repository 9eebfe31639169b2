from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from clwm_data.collection.collector import collect
from clwm_data.errors import ClwmError
from clwm_data.families import Task, get_family
from clwm_data.manifest import BehaviourEntry, Manifest
from clwm_data.opening import open_store
from clwm_data.store import TaskArrays
from clwm_data.store.arrays import episode_return
from clwm_data.store.replay import replay
from clwm_data.store.root_writer import write_root
from clwm_data.store.validate import validate
from clwm_data.store.writer import write_task
from tests.conftest import Clwm

ALL = 1000


def forged(path: Path, index: int, change: Callable[[TaskArrays], TaskArrays]) -> Path:
    """A store whose task was changed by somebody who also mended digests, returns and statistics."""
    store = open_store(path)
    task = store.tasks[index]
    arrays = change(task.load())
    returns = np.array([episode_return(episode.reward) for episode in arrays])
    shutil.rmtree(path / f"tasks/{index:04d}")
    described = Task(task.index, task.split, task.parameters)
    write_task(
        path,
        described,
        store.manifest.behaviours,
        replace(arrays, episode_return=returns),
        store.manifest.storage,
    )
    write_root(path, store.manifest, store.provenance)
    assert validate(path) == []
    return path


def plus(array: np.ndarray, where: object, value: float) -> np.ndarray:
    changed = array.copy()
    changed[where] += np.asarray(value, array.dtype)
    return changed


def elsewhere(path: Path) -> Path:
    """The same store, said to be collected with another version of NumPy."""
    store = open_store(path)
    packages = {**store.provenance.packages, "numpy": "1.0"}
    write_root(path, store.manifest, store.provenance.model_copy(update={"packages": packages}))
    return path


@pytest.fixture(scope="module")
def cheetah(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cheetah") / "cheetah.zarr"
    random = [BehaviourEntry(policy="random", episodes=3)]
    collect(Manifest(name="cheetah", family="cheetah-vel", tasks=[0, 39], behaviours=random), path)
    return path


@pytest.mark.parametrize("family", ["point-robot", "cheetah-vel", "mw-reach", "mw-bin-picking"])
def test_what_was_collected_comes_out_again_to_the_bit(family: str, tmp_path: Path) -> None:
    entries = [BehaviourEntry(policy="random", episodes=1)]
    if "scripted" in get_family(family).behaviours:
        entries.append(BehaviourEntry(policy="scripted", noise=0.2, episodes=1))
    collect(Manifest(name="x", family=family, tasks=[3, 39], behaviours=entries), tmp_path / "x.zarr")
    report = replay(tmp_path / "x.zarr", ALL)
    assert report.findings == []
    assert report.differences == ()
    assert report.episodes == sum(entry.episodes for entry in entries) * 2
    assert report.steps == sum(
        task.record.transitions for task in open_store(tmp_path / "x.zarr").tasks.values()
    )
    assert "bit for bit" in str(report)


@pytest.mark.parametrize("where", ["here", "elsewhere"])
@pytest.mark.parametrize("row", [0, 57, 199])
def test_a_reward_off_by_a_thousandth_is_found(store_path: Path, where: str, row: int) -> None:
    forged(store_path, 6, lambda arrays: replace(arrays, reward=plus(arrays.reward, row, 1e-3)))
    if where == "elsewhere":
        elsewhere(store_path)
    report = replay(store_path, ALL)
    assert bool(report.differences) == (where == "elsewhere")
    assert [finding.where for finding in report.findings] == [f"{store_path}: task 6: episode {row // 40}"]
    assert report.findings[0].what.startswith(f"reward, row {row % 40}, is ")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda a: replace(a, observation=plus(a.observation, (3, 1), 1e-3)), "observation column 1, row 3"),
        (lambda a: replace(a, action=a.action * np.float32(0.999)), "observation column"),
        (lambda a: replace(a, episode_initial_state=a.episode_initial_state + 1e-3), "initial state"),
        (lambda a: replace(a, terminated=a.truncated, truncated=a.terminated), "terminated, row 39, is True"),
    ],
)
@pytest.mark.parametrize("where", ["here", "elsewhere"])
def test_other_forgeries_are_found(
    store_path: Path, change: Callable[[TaskArrays], TaskArrays], words: str, where: str
) -> None:
    forged(store_path, 6, change)
    if where == "elsewhere":
        elsewhere(store_path)
    report = replay(store_path, ALL)
    assert report.findings
    assert all(words in finding.what for finding in report.findings)


def test_a_shortened_episode_is_found(store_path: Path) -> None:
    def shorten(arrays: TaskArrays) -> TaskArrays:
        episodes = [
            replace(
                episode,
                observation=episode.observation[:31],
                action=episode.action[:30],
                reward=episode.reward[:30],
                terminated=episode.terminated[:30],
                truncated=np.arange(30) == 29,
            )
            for episode in arrays
        ]
        return TaskArrays.from_episodes(episodes)

    report = replay(forged(store_path, 6, shorten), ALL)
    assert {finding.what for finding in report.findings} == {
        "truncated, row 29, is True; the simulator gives False"
    }


def test_swapped_tasks_are_found(store_path: Path) -> None:
    """The data of one task under the parameters of another: every digest is right, every reward wrong."""
    other = open_store(store_path).tasks[12].load()
    forged(store_path, 6, lambda arrays: other)
    findings = replay(store_path, ALL).findings
    # The two random episodes do not leave the hallway, where the tasks are the same.
    rewards = [finding for finding in findings if "reward, row" in finding.what]
    assert [finding.where for finding in rewards] == [f"{store_path}: task 6: episode {e}" for e in range(3)]
    assert all("its seed is not" in finding.what for finding in findings if finding not in rewards)


def test_swapped_parameters_are_found(store_path: Path) -> None:
    nodes = {
        index: json.loads((store_path / f"tasks/{index:04d}/zarr.json").read_text()) for index in (6, 12)
    }
    parameters = [nodes[index]["attributes"]["parameters"] for index in (12, 6)]
    for index, swapped in zip((6, 12), parameters, strict=True):
        nodes[index]["attributes"]["parameters"] = swapped
        (store_path / f"tasks/{index:04d}/zarr.json").write_text(json.dumps(nodes[index]))
    store = open_store(store_path)
    write_root(store_path, store.manifest, store.provenance)
    found = "\n".join(map(str, validate(store_path)))
    assert "task 6: parameters" in found
    assert "task 12: parameters" in found


def test_rounding_of_a_chaotic_simulation_is_no_forgery(cheetah: Path, tmp_path: Path) -> None:
    """A start that differs in the last digits ends elsewhere: fine on another simulator, not on the same."""
    path = Path(shutil.copytree(cheetah, tmp_path / "x.zarr"))
    store = open_store(path)
    arrays = store.tasks[39].load()
    state = plus(arrays.episode_initial_state, (slice(None), 5), 1e-12)
    forged(path, 39, lambda arrays: replace(arrays, episode_initial_state=state))
    assert all("initial state" in finding.what for finding in replay(path, ALL).findings)
    report = replay(elsewhere(path), ALL)
    assert report.findings == []
    assert 3 * 50 < report.steps - 3 * 200 < 3 * 200  # task 0 in full, task 39 until it parts
    assert report.to_the_bit < report.steps < report.total
    assert "numpy 1.0 there" in str(report)
    # Until then a reward is still compared.
    forged(path, 39, lambda arrays: replace(arrays, reward=plus(arrays.reward, 3, 1e-3)))
    assert [finding.what[:13] for finding in replay(path, ALL).findings] == ["reward, row 3"]


def test_episodes_are_drawn_at_random(store_path: Path) -> None:
    forged(store_path, 6, lambda arrays: replace(arrays, reward=plus(arrays.reward, 50, 1e-3)))
    found = {seed: bool(replay(store_path, 2, seed=seed).findings) for seed in range(12)}
    assert set(found.values()) == {False, True}  # episode 1 is drawn by some seeds, by others not
    assert found == {seed: bool(replay(store_path, 2, seed=seed).findings) for seed in range(12)}
    assert replay(store_path, 2).seed != replay(store_path, 2).seed
    assert replay(store_path, None).episodes == 3 * 5
    assert replay(store_path, None).findings


def test_a_claim_of_another_simulator_does_not_hide_rewards_behind_a_gap(
    cheetah: Path, tmp_path: Path
) -> None:
    """Observations are bent a little where the comparison would then end, and rewards raised behind that."""

    def raised(arrays: TaskArrays) -> TaskArrays:
        observation, reward = arrays.observation.copy(), arrays.reward.copy()
        for episode in range(arrays.episodes):
            start = int(arrays.episode_start[episode])
            observation[start + episode + 8 : start + episode + 201] += np.float32(1e-3)
            reward[start + 8 : start + 200] += 5
        return replace(arrays, observation=observation, reward=reward)

    path = elsewhere(forged(Path(shutil.copytree(cheetah, tmp_path / "x.zarr")), 0, raised))
    findings = replay(path, None).findings
    assert len(findings) == 3
    assert all("row 8, is" in finding.what and "too suddenly" in finding.what for finding in findings)


def test_a_gap_that_opens_slowly_leaves_too_little_compared(cheetah: Path, tmp_path: Path) -> None:
    def raised(arrays: TaskArrays) -> TaskArrays:
        observation, reward = arrays.observation.copy(), arrays.reward.copy()
        for episode in range(arrays.episodes):
            start = int(arrays.episode_start[episode])
            steps = np.minimum(np.arange(201), 20)
            rows = slice(start + episode, start + episode + 201)
            observation[rows] += (3e-8 * 2.0**steps - 3e-8)[:, None].astype(np.float32)
            reward[start + 12 : start + 200] += 5
        return replace(arrays, observation=observation, reward=reward)

    path = elsewhere(forged(Path(shutil.copytree(cheetah, tmp_path / "x.zarr")), 0, raised))
    (finding,) = replay(path, None).findings
    assert "of its steps could be compared, at least 25 % are needed" in finding.what


@pytest.mark.parametrize("size", [3e-6, 5e-5])
def test_a_small_edit_of_a_reward_is_no_rounding(store_path: Path, size: float) -> None:
    forged(store_path, 6, lambda arrays: replace(arrays, reward=plus(arrays.reward, 3, 3 * size)))
    assert len(replay(elsewhere(store_path), None).findings) == 1


def test_swapped_behaviour_labels_are_found(store_path: Path) -> None:
    swapped = [1, 1, 0, 0, 0]
    forged(store_path, 6, lambda a: replace(a, episode_behaviour=np.array(swapped, np.int16)))
    findings = [str(finding) for finding in replay(store_path, 1).findings]
    assert len(findings) == 2
    assert "task 6: episode 2: its seed is not the one that the manifest gives to episode 0" in findings[0]


def test_errors(store_path: Path) -> None:
    with pytest.raises(ClwmError, match="at least 1, not 0"):
        replay(store_path, 0)
    forged(
        store_path,
        6,
        lambda arrays: replace(arrays, episode_initial_state=None),
    )
    with pytest.raises(ClwmError, match="task 6: holds no seeds and simulator states"):
        replay(store_path, 1)


def test_command(store_path: Path, clwm: Clwm) -> None:
    result = clwm("validate", store_path, "--replay", "2", "--seed", "7")
    assert result.returncode == 0
    assert "re-simulated 6 episodes (drawn with seed 7), 240 steps: compared bit for bit" in result.stdout
    assert clwm("validate", store_path, "--replay", "some").returncode == 2
    assert clwm("validate", store_path, "--replay", "0").returncode == 2
    forged(store_path, 6, lambda arrays: replace(arrays, reward=plus(arrays.reward, 3, 1e-3)))
    result = clwm("validate", store_path, "--replay", "all", "--json")
    assert result.returncode == 1
    document = json.loads(result.stdout)
    assert not document["replay"]["bit_exact"]
    assert document["replay"]["steps_equal_to_the_bit"] == document["replay"]["total_steps"] - 1
    assert [finding["what"][:13] for finding in document["findings"]] == ["reward, row 3"]


def test_dense_rewards_are_compared_too(tmp_path: Path) -> None:
    mixture = [BehaviourEntry(policy="scripted", episodes=2)]
    manifest = Manifest(name="dense", family="point-robot-sparse", tasks=[3], behaviours=mixture)
    path = collect(manifest, tmp_path / "dense.zarr").path
    report = replay(path, ALL)
    assert (report.findings, report.to_the_bit) == ([], report.total)

    def change(arrays: TaskArrays) -> TaskArrays:
        assert arrays.dense_reward is not None
        return replace(arrays, dense_reward=plus(arrays.dense_reward, 5, 1e-3))

    forged(path, 3, change)
    report = replay(path, ALL)
    assert [finding.where for finding in report.findings] == [f"{path}: task 3: episode 0"]
    assert report.findings[0].what.startswith("dense_reward, row 5, is ")
    assert report.to_the_bit == report.total - 1
