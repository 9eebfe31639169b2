"""Other rewards for the same transitions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import clwm_data
from clwm_data.edit import merge, relabel, select
from clwm_data.errors import ClwmError, ConflictError, InvalidInputError, NotFoundError, UnavailableError
from clwm_data.families import get_family
from clwm_data.opening import open_store
from clwm_data.store.digest import file_sha256
from clwm_data.store.replay import replay
from clwm_data.store.validate import validate
from tests.conftest import Clwm, tree


def distance(observation: Any, action: Any, following: Any, parameters: Any) -> Any:
    assert len(observation) == len(action) == len(following)
    observation[:] = np.nan  # changes nothing
    return np.float64(parameters["goal"][0]) - 2 * following[:, 0] + action[:, 1]


def test_rewards_are_those_of_the_function_and_all_else_stays(collected: Path, tmp_path: Path) -> None:
    before = tree(collected)
    store = relabel(collected, tmp_path / "new.zarr", distance)
    assert tree(collected) == before
    assert validate(store.path) == []
    old = open_store(collected)
    assert list(store.tasks) == list(old.tasks)
    for task in store:
        assert task.parameters == old[task.index].parameters
        assert task.record.behaviours == old[task.index].record.behaviours
        for new, episode in zip(task.load(), old[task.index].load(), strict=True):
            for name in ("observation", "action", "terminated", "truncated", "initial_state", "seed"):
                np.testing.assert_array_equal(getattr(new, name), getattr(episode, name))
            goal: Any = task.parameters["goal"]
            for step, reward in enumerate(new.reward):  # an oracle, step by step
                expected = goal[0] - 2 * episode.observation[step + 1, 0] + episode.action[step, 1]
                assert reward == pytest.approx(expected, abs=1e-5)
        returns = [float(np.sum(e.reward, dtype=np.float64)) for e in task.load()]
        assert task.load().episode_return.tolist() == pytest.approx(returns)
        assert task.record.statistics.returns.mean == pytest.approx(np.mean(returns))


def test_the_store_says_what_was_done(collected: Path, tmp_path: Path) -> None:
    store = relabel(collected, tmp_path / "new.zarr", distance)
    edited = store.record.edited
    assert edited is not None
    assert edited.operation == "relabel"
    assert edited.options["reward"] == f"{__name__}:distance"
    assert edited.options["reward file sha256"] == file_sha256(Path(__file__))
    assert edited.sources[0].content_sha256 == open_store(collected).record.content_sha256
    assert edited.sources[0].provenance == store.provenance


def test_replay_compares_all_but_the_rewards_and_says_so(collected: Path, tmp_path: Path) -> None:
    relabel(collected, tmp_path / "new.zarr", distance)
    select(tmp_path / "new.zarr", tmp_path / "part.zarr", tasks=[6])
    for name in ("new", "part"):
        report = replay(tmp_path / f"{name}.zarr", None, seed=0)
        assert report.findings == []
        assert "without the rewards, which were relabelled" in str(report)
    assert "relabelled" not in str(replay(collected, None, seed=0))


def test_the_old_rewards_again_give_the_same_data(collected: Path, tmp_path: Path) -> None:
    old = open_store(collected)
    rewards = {tuple(t.parameters["goal"]): t.load().reward for t in old}  # type: ignore[arg-type]
    again = relabel(collected, tmp_path / "again.zarr", lambda s, a, n, p: rewards[tuple(p["goal"])])
    assert again.record.content_sha256 == old.record.content_sha256


def test_a_dense_reward_goes_with_the_rewards(tmp_path: Path) -> None:
    family = get_family("point-robot-sparse")
    manifest = clwm_data.Manifest(
        name="sparse",
        family=family.name,
        tasks=[0],
        behaviours=[{"policy": "random", "episodes": 2}],  # type: ignore[list-item]
    )
    store = clwm_data.collect(manifest, tmp_path / "sparse.zarr")
    assert "dense_reward" in store[0].arrays
    new = relabel(store.path, tmp_path / "new.zarr", lambda s, a, n, p: np.zeros(len(s)))
    assert "dense_reward" not in new[0].arrays
    assert "success" in new[0].arrays
    assert validate(new.path) == []


BAD: dict[str, tuple[Any, str]] = {
    "shape": (lambda s, a, n, p: s, r"gives an array of shape \[\d+, 2\] for"),
    "scalar": (lambda s, a, n, p: 1.0, r"gives an array of shape \[\] for"),
    "nan": (
        lambda s, a, n, p: np.where(np.arange(len(s)) == len(s) - 1, np.nan, 0),
        r"episode 4: step \d+: gives nan",
    ),
    "range": (lambda s, a, n, p: np.full(len(s), 1e300), "episode 0: step 0: gives 1e\\+300"),
    "text": (lambda s, a, n, p: ["a"] * len(s), "gives <U1, not real numbers"),
    "error": (lambda s, a, n, p: p["mass"], "cannot be called: KeyError: 'mass'"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_function_leaves_nothing(name: str, collected: Path, tmp_path: Path) -> None:
    function, words = BAD[name]
    with pytest.raises(ClwmError, match=words) as caught:
        relabel(collected, tmp_path / "new.zarr", function)
    assert isinstance(caught.value, UnavailableError if name == "error" else InvalidInputError)
    assert "task 0" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_names_and_places(collected: Path, store_path: Path, tmp_path: Path) -> None:
    for text in ("rewards", "rewards.upright", "rewards:", ":upright", ""):
        with pytest.raises(NotFoundError, match=f"'{text}' names no function of a module: write package.mod"):
            relabel(store_path, tmp_path / "new.zarr", text)
    with pytest.raises(NotFoundError, match="no module nowhere"):
        relabel(collected, tmp_path / "new.zarr", "nowhere:f")
    with pytest.raises(NotFoundError, match="numpy has no function nothing"):
        relabel(collected, tmp_path / "new.zarr", "numpy:nothing")
    with pytest.raises(ConflictError, match="is there already"):
        relabel(collected, store_path, distance)
    assert clwm_data.relabel is relabel
    new = relabel(collected, tmp_path / "new.zarr", distance)
    with pytest.raises(ConflictError):  # the same episodes
        merge([collected, new.path], tmp_path / "both.zarr")


def test_the_command(clwm: Clwm, store_path: Path, tmp_path: Path) -> None:
    (tmp_path / "rewards.py").write_text(
        "def near(observation, action, next_observation, parameters):\n    return -abs(action[:, 0])\n"
    )
    done = clwm("relabel", store_path, "near.zarr", "--reward", "rewards:near")
    assert done.returncode == 0, done.stderr
    assert "3 tasks" in done.stdout
    assert clwm("validate", "near.zarr", "--replay", "2").returncode == 0
    arrays = open_store(tmp_path / "near.zarr")[6].load()
    np.testing.assert_array_equal(arrays.reward, -np.abs(arrays.action[:, 0]))
    for arguments, words in (
        (("--reward", "rewards:far"), "rewards has no function far"),
        (("--reward", "rewards"), "names no function of a module"),
        (("--reward", ":f"), "names no function of a module"),
    ):
        failed = clwm("relabel", store_path, "far.zarr", *arguments)
        assert failed.returncode == 1
        assert words in failed.stderr
        assert failed.stderr.count("\n") == 1
    assert clwm("relabel", store_path, "far.zarr").returncode == 2
