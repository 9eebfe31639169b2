"""Logs of robots, and what is refused: bad episodes, arguments, and contradictions to the store."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import SyncVectorEnv

import clwm_data
from clwm_data import Recorder, open_store, recover_recording
from clwm_data.errors import ConflictError, InvalidInputError, NotFoundError
from clwm_data.recording.session import sessions_folder
from clwm_data.store.validate import validate
from tests.data.collection.test_own_policy import Tensor
from tests.data.recording.test_recorder import Counter, check_counter_episodes, run_counter


def log(steps: int = 3, **changes: Any) -> dict[str, Any]:
    values = {
        "observation": np.arange(2.0 * (steps + 1)).reshape(-1, 2),
        "action": np.full((steps, 1), 0.5),
        "reward": np.arange(float(steps)),
    }
    return {**values, **changes}


def test_logs_of_robots(tmp_path: Path) -> None:
    path = tmp_path / "mine.zarr"
    rows = log()
    with Recorder(path, task=0) as r:
        r.add_episode(**rows)
        r.add_episode(**rows, terminated=True)
        r.add_episode(**rows, terminated=[0, 0, 0], truncated=[0, 0, 0])
        following = {"observation": rows["observation"][:-1], "next_observation": rows["observation"][1:]}
        r.add_episode(**{**rows, **following}, action_bounds=([0.0], [2.0]))
    assert validate(path) == []
    arrays = open_store(path)[0].load()
    assert arrays.terminated.reshape(4, 3).tolist() == [[False] * 3, [False, False, True], *[[False] * 3] * 2]
    assert arrays.truncated.reshape(4, 3).any(axis=1).tolist() == [True, False, False, True]
    assert (arrays.observation.reshape(4, 4, 2) == rows["observation"]).all()
    assert arrays.action[:, 0].tolist() == [0.5] * 9 + [-0.5] * 3


BAD = {
    "nan": (log(reward=[0.0, np.nan, 1.0]), "episode 1 of this session: step 1: reward holds nan"),
    "observation sizes": (log(observation=np.zeros((4, 3))), "observation: has 3 entries, .* has 2"),
    "action sizes": (log(action=np.zeros((3, 2))), "action: has 2 entries"),
    "an observation short": (log(observation=np.zeros((3, 2))), "has 3 observations and 3 actions"),
    "goes on": (log(terminated=[0, 1, 0]), "step 1: is terminated, but the episode goes on"),
    "out of bounds": (log(action=np.full((3, 1), 1.5)), "step 0: action entry 0 is 1.5, outside"),
    "empty": (log(0), "has no steps"),
    "a tensor of a graph": (log(action=Tensor()), r"action: RuntimeError: use detach\(\) first"),
    "ragged": (log(action=[[0.0], [0.0, 1.0], [0.0]]), "action: its rows differ in length"),
    "discontinuity": (
        log(
            observation=np.array([[0.0, 0], [1, 1], [7, 2]]),
            next_observation=np.array([[1.0, 1], [2, 2], [3, 3]]),
        ),
        "step 2: does not begin where step 1 led to",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_episode_is_refused_and_costs_no_other(name: str, tmp_path: Path) -> None:
    values, words = BAD[name]
    path = tmp_path / "mine.zarr"
    with Recorder(path, task=0) as r:
        r.add_episode(**log())
        with pytest.raises(InvalidInputError, match=words) as caught:
            r.add_episode(**values)
        assert "\n" not in str(caught.value)
        r.add_episode(**log())
    assert open_store(path)[0].record.episodes == 2
    # Also against what another session has recorded.
    with Recorder(path, task=1) as r, pytest.raises(InvalidInputError):
        r.add_episode(**values)
    assert list(open_store(path).tasks) == [0]


def test_a_lane_with_nan_costs_no_other_lane_a_step(tmp_path: Path) -> None:
    class Broken(Counter):
        def step(self, action: Any) -> Any:
            observation, reward, *rest = super().step(action)
            return observation, np.nan if self.episode == 0 and self.first == 0 else reward, *rest

    env = SyncVectorEnv([lambda i=i: Broken(100 * i) for i in (0, 1)])
    path = tmp_path / "mine.zarr"
    with Recorder(path, task=0) as r:
        recorded = r.wrap(env)
        recorded.reset()
        refusals: list[str] = []
        for _ in range(3 + 1 + 1 + 1 + 4):
            try:
                recorded.step(np.zeros((2, 1)))
            except InvalidInputError as error:
                refusals.append(str(error))
    (refusal,) = refusals
    assert "reward holds nan" in refusal
    assert check_counter_episodes(path) == [100, 1, 101, 2, 102]


ARGUMENTS: dict[str, tuple[dict[str, Any], str]] = {
    "task": ({"task": -1}, "a task is a whole number from 0"),
    "split": ({"task": 0, "split": "test"}, "'test' is not one of train, id, ood"),
    "nan": ({"task": 0, "parameters": {"m": np.nan}}, "parameter 'm' is nan, expected a finite number"),
    "no numbers": ({"task": 0, "parameters": {"m": []}}, "parameter 'm' is \\[\\]"),
    "digits": ({"task": 0, "parameters": {"m": 10**400}}, "expected a finite number"),
    "policy": ({"task": 0, "policy": ""}, "policy: string should have at least 1 character"),
    "licence": ({"task": 0, "session": {"licence": "\0"}}, "notes.licence"),
    "text": ({"task": 0, "parameters": {"m": "heavy"}}, "parameter 'm' is 'heavy'"),
    "family": ({"task": 0, "family": "my robot"}, "'my robot': cannot be the name of a family"),
    "control characters": ({"task": 0, "session": {"who": "\x1b[2J"}}, "notes.who"),
}


@pytest.mark.parametrize("name", ARGUMENTS)
def test_bad_arguments_leave_nothing(name: str, tmp_path: Path) -> None:
    arguments, words = ARGUMENTS[name]
    with pytest.raises(InvalidInputError, match=words), Recorder(tmp_path / "x.zarr", **arguments):
        pass
    assert list(tmp_path.iterdir()) == []


def test_what_the_store_contradicts_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.zarr"
    with Recorder(path, task=0, parameters={"m": 1}, session={"licence": "MIT"}) as r:
        r.add_episode(**log())
    for arguments, words in (
        ({"split": "ood"}, "task 0 is in split train in the store, not ood"),
        ({"parameters": {"m": 2}}, "has the parameters {'m': 1.0} in the store, not {'m': 2.0}"),
        ({"family": "other"}, "is of family mine, not other"),
        ({"session": {"licence": "CC0-1.0"}}, "has the licence MIT, this session CC0-1.0"),
    ):
        with pytest.raises(ConflictError, match=words), Recorder(path, task=0, **arguments):  # type: ignore[arg-type]
            pass
    with Recorder(path, task=0, parameters={"m": 1.0}, split="train", family="mine") as r:
        r.add_episode(**log())
    assert open_store(path)[0].record.episodes == 2


def test_a_name_of_a_family_has_to_be_meant(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="give family='point-robot'"):
        Recorder(tmp_path / "point-robot.zarr", task=0).__enter__()
    with (
        pytest.raises(ConflictError, match=r"split .* in family point-robot"),
        Recorder(tmp_path / "point-robot.zarr", task=0, family="point-robot", split="train"),
    ):
        pass


def test_recorders_are_used_in_a_block_and_elsewhere_is_no_store(tmp_path: Path) -> None:
    r = Recorder(tmp_path / "mine.zarr", task=0)
    with pytest.raises(InvalidInputError, match="is not in use"):
        r.add_episode(**log())
    (tmp_path / "folder").mkdir()
    with pytest.raises(ConflictError, match="is there, and no store"), Recorder(tmp_path / "folder", task=0):
        pass
    with pytest.raises(NotFoundError):
        recover_recording(tmp_path / "mine.zarr")
    with pytest.raises(InvalidInputError, match="is not a Gymnasium environment"), r:
        r.wrap(object())
    assert clwm_data.Recorder is Recorder


def test_nothing_is_taken_in_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed after the store took the episodes in, before the session was removed."""
    path = tmp_path / "mine.zarr"
    with monkeypatch.context() as patch:
        patch.setattr("clwm_data.recording.session.SessionFolder.remove", lambda self: self.release())
        with Recorder(path, task=0) as r:
            run_counter(r.wrap(Counter()), 2)
    assert any(sessions_folder(path).iterdir())
    recover_recording(path)
    assert check_counter_episodes(path) == [0, 1]
    assert not sessions_folder(path).exists()


@pytest.mark.parametrize("reward", [np.array([1.5]), np.float64(1.5), 1.5])
def test_a_reward_may_be_an_array_of_one_number(reward: Any, tmp_path: Path) -> None:
    with Recorder(tmp_path / "r.zarr", task=0) as recorder:
        env = recorder.wrap(_Rewarding(reward))
        env.reset()
        env.step(np.zeros(1))
    assert open_store(tmp_path / "r.zarr")[0].load().reward.tolist() == [1.5]


@pytest.mark.parametrize("reward", [None, np.zeros(2), "much"])
def test_what_is_no_reward_is_named(reward: Any, tmp_path: Path) -> None:
    with Recorder(tmp_path / "r.zarr", task=0) as recorder:
        env = recorder.wrap(_Rewarding(reward))
        env.reset()
        with pytest.raises(InvalidInputError, match=r"step 0: the reward is .*, expected a number"):
            env.step(np.zeros(1))


def test_rewards_of_another_length_are_named_and_not_the_flags(tmp_path: Path) -> None:
    with Recorder(tmp_path / "r.zarr", task=0) as recorder:
        with pytest.raises(InvalidInputError, match=r"reward: has shape \[1\], the actions have 5 steps"):
            recorder.add_episode(np.zeros((6, 2)), np.zeros((5, 1)), 1.0)
        with pytest.raises(InvalidInputError, match="in Python action_bounds=N"):
            recorder.add_episode(np.zeros((6, 2)), np.array([0, 1, 2, 0, 1]), np.zeros(5))
        recorder.add_episode(np.arange(5.0), np.zeros(5), np.zeros(5), next_observation=np.arange(1.0, 6.0))
    assert open_store(tmp_path / "r.zarr")[0].load().observation.tolist() == [[float(n)] for n in range(6)]


def test_actions_that_may_be_discrete_are_told(tmp_path: Path) -> None:
    def told(*actions: Any, **options: Any) -> list[str]:
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.zarr"
        with warnings.catch_warnings(record=True) as caught, Recorder(path, task=0) as r:
            for rows in actions:
                r.add_episode(np.zeros((4, 2)), rows, np.zeros(3), **options)
        return [str(warning.message) for warning in caught]

    one_hot, resting = np.eye(3, dtype=np.float32), np.zeros((3, 1))
    (remark,) = told(one_hot[[0] * 3], one_hot[[1, 1, 1]])
    assert "0.zarr: every action is one 1 among 3 entries: read as numbers of a Box" in remark
    assert "in Python action_bounds=3" in remark
    (remark,) = told(resting, 1 - resting, resting)
    assert "every action is 0 or 1" in remark
    for quiet in ([resting], [resting, 1 - resting, resting + 0.5], [one_hot, -one_hot]):
        assert told(*quiet) == []
    assert told(one_hot, action_bounds=3) == told(one_hot, action_bounds=(0, 1)) == []


class _Rewarding(gymnasium.Env[Any, Any]):
    """One step, with a reward of any kind."""

    observation_space = gymnasium.spaces.Box(-1.0, 1.0, (2,))
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,))

    def __init__(self, reward: Any) -> None:
        self.reward = reward

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        return np.zeros(2, np.float32), {}

    def step(self, action: Any) -> Any:
        return np.zeros(2, np.float32), self.reward, True, False, {}
