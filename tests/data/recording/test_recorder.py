"""Recording environments and logs: whole episodes, none bogus, none lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import Autoreset, TimeLimit

from clwm_data import Recorder, open_store
from clwm_data.errors import ConflictError, InvalidInputError
from clwm_data.families import get_family
from clwm_data.store.validate import validate
from tests.conftest import tree


class Counter(gymnasium.Env[Any, Any]):
    """Observes [episode, step]: whoever mixes up episodes or steps is seen. Odd episodes terminate."""

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (2,))
    action_space = gymnasium.spaces.Box(-2.0, 2.0, (1,))

    def __init__(self, first: int = 0, lengths: tuple[int, ...] = (3, 1, 4)) -> None:
        self.episode, self.first, self.lengths = -1, first, lengths

    def _observation(self) -> Any:
        return np.array([self.first + self.episode, self.steps], np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.episode += 1
        self.steps = 0
        return self._observation(), {}

    def step(self, action: Any) -> Any:
        self.steps += 1
        ends = self.steps == self.lengths[self.episode % len(self.lengths)]
        odd = self.episode % 2 == 1
        reward = 10.0 * self.episode + self.steps + float(action[0]) / 100
        return self._observation(), reward, ends and odd, ends and not odd, {"success": ends}


def check_counter_episodes(path: Path, task: int = 0, lengths: tuple[int, ...] = (3, 1, 4)) -> list[int]:
    """Every stored episode is one of a Counter's, whole; the numbers of them are returned."""
    assert validate(path) == []
    numbers = []
    for episode in open_store(path)[task].load():
        first = int(episode.observation[0, 0])
        number, steps = first % 100, len(episode.reward)
        assert episode.observation.tolist() == [[first, step] for step in range(steps + 1)]
        assert steps == lengths[number % len(lengths)]
        assert episode.terminated.tolist() == [False] * (steps - 1) + [number % 2 == 1]
        assert episode.truncated.tolist() == [False] * (steps - 1) + [number % 2 == 0]
        action = episode.action[:, 0] * 2.0  # of bounds -2 and 2
        expected = 10.0 * number + np.arange(1, steps + 1) + action / 100
        np.testing.assert_allclose(episode.reward, expected, rtol=1e-6)
        assert episode.success is not None
        assert episode.success.tolist() == [False] * (steps - 1) + [True]
        numbers.append(first)
    return numbers


def run_counter(env: Any, episodes: int) -> None:
    for _ in range(episodes):
        env.reset()
        ended = False
        while not ended:
            _, _, terminated, truncated, _ = env.step(env.action_space.sample())
            ended = terminated or truncated


def test_a_single_environment(tmp_path: Path) -> None:
    path = tmp_path / "mine.zarr"
    notes = {"who": "Ada", "what": "Counting.", "licence": "CC0-1.0", "robot": "none"}
    with Recorder(path, task=3, parameters={"mass": 1.5}, split="id", policy="dice", session=notes) as r:
        run_counter(r.wrap(Counter()), 6)
        assert r.episodes == 6
        assert not path.exists()
    assert check_counter_episodes(path, 3) == [0, 1, 2, 3, 4, 5]
    store = open_store(path)
    task = store[3]
    assert (store.family, task.split, dict(task.parameters)) == ("mine", "id", {"mass": 1.5})
    assert [entry.label for entry in task.record.behaviours] == ["dice"]
    assert store.manifest.authors == ["Ada"]
    assert (store.manifest.licence, store.manifest.description) == ("CC0-1.0", "Counting.")
    edited = store.record.edited
    assert edited is not None
    assert edited.operation == "record"
    assert "task: 3; who: Ada; what: Counting.; licence: CC0-1.0; robot: none" in edited.options.values()
    assert [path.name for path in tmp_path.iterdir()] == ["mine.zarr"]  # nothing is left beside it


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_vector_environments_give_no_bogus_transition(mode: AutoresetMode, tmp_path: Path) -> None:
    path = tmp_path / "mine.zarr"
    lengths = ((3, 1, 4), (2, 5), (1,))
    makers = [lambda i=i: Counter(100 * i, lengths[i]) for i in range(3)]
    env = SyncVectorEnv(makers, autoreset_mode=mode, copy=False)
    with Recorder(path, task=0) as r:
        recorded = r.wrap(env)
        assert recorded.num_envs == 3
        recorded.reset(seed=1)
        rng = np.random.default_rng(0)
        for _ in range(40):
            actions = rng.uniform(-2, 2, (3, 1)).astype(np.float32)
            _, _, terminated, truncated, _ = recorded.step(actions)
            if mode == AutoresetMode.DISABLED and (terminated | truncated).any():
                recorded.reset(options={"reset_mask": terminated | truncated})
        complete = r.episodes
    assert validate(path) == []
    seen: dict[int, list[int]] = {0: [], 1: [], 2: []}
    for place, episode in enumerate(open_store(path)[0].load()):
        lane, number = divmod(int(episode.observation[0, 0]), 100)
        steps = len(episode.reward)
        assert episode.observation.tolist() == [[100 * lane + number, s] for s in range(steps + 1)]
        expected = lengths[lane][number % len(lengths[lane])]
        assert steps == expected or (place >= complete and steps < expected)
        action = episode.action[:, 0] * 2.0
        np.testing.assert_allclose(
            episode.reward, 10.0 * number + np.arange(1, steps + 1) + action / 100, rtol=1e-6
        )
        seen[lane].append(number)
    for numbers in seen.values():  # every episode of every lane, in order
        assert numbers == list(range(len(numbers)))
    # 40 steps; with NEXT_STEP one of them resets after every episode.
    assert len(seen[2]) in ((20,) if mode == AutoresetMode.NEXT_STEP else (40,))


def test_clwms_own_vector_environment(tmp_path: Path) -> None:
    family = get_family("point-robot")
    path = tmp_path / "mine.zarr"
    with Recorder(path, task=7, family="point-robot") as r:
        env = r.wrap(family.make_vec_env([7, 7]))
        env.reset(seed=[5, 6])
        for _ in range(family.horizon + 3):  # lanes that have ended are frozen
            env.step(np.zeros((2, family.action_size), np.float32))
    assert validate(path) == []
    task = open_store(path)[7]
    assert dict(task.parameters) == dict(family.task(7).parameters)
    assert task.load().episode_length.tolist() == [family.horizon] * 2


def test_discrete_actions_are_numbers_in_the_store_and_one_hot_in_memory(tmp_path: Path) -> None:
    path = tmp_path / "pole.zarr"
    vector = gymnasium.make_vec("CartPole-v1", num_envs=2, vectorization_mode="sync")
    taken: list[int] = []
    with Recorder(path, task=0) as r:
        env = r.wrap(gymnasium.make("CartPole-v1"))
        env.reset(seed=0)
        ended = False
        while not ended:
            action = int(env.action_space.sample())
            taken.append(action)
            _, _, terminated, truncated, _ = env.step(action)
            ended = terminated or truncated
        many = r.wrap(vector)
        many.reset(seed=0)
        for _ in range(30):
            many.step(np.array([0, 1]))
    assert validate(path) == []
    arrays = open_store(path)[0].load()
    assert arrays.episode(0).stored_action.tolist() == taken
    assert arrays.episode(0).action.tolist() == np.eye(2)[taken].tolist()
    assert np.asarray(open_store(path)[0].array("action")).tolist()[: len(taken)] == taken
    with Recorder(path, task=0) as r:
        r.add_episode(np.zeros((3, 4)), [1, 0], [0.0, 1.0], action_bounds=2)
        with pytest.raises(
            InvalidInputError, match="step 1: action is 2, expected a whole number from 0 to 1"
        ):
            r.add_episode(np.zeros((3, 4)), [1, 2], [0.0, 1.0], action_bounds=2)
        with pytest.raises(InvalidInputError, match="its actions are vectors, those of the store discrete"):
            r.add_episode(np.zeros((3, 4)), np.zeros((2, 2)), [0.0, 1.0])
    assert open_store(path)[0].load().episode(-1).stored_action.tolist() == [1, 0]
    with Recorder(path, task=0) as r:  # the store knows how many there are
        r.add_episode(np.zeros((3, 4)), [0, 1], [0.0, 1.0])
    assert open_store(path)[0].load().episode(-1).stored_action.tolist() == [0, 1]
    assert {tuple(row) for row in arrays.action.tolist()} == {(0.0, 1.0), (1.0, 0.0)}


class Scaling(Counter):
    """Writes to the action that it is given, and succeeds under another name."""

    def step(self, action: Any) -> Any:
        before = float(action[0])
        action *= 0.25
        observation, reward, terminated, truncated, info = super().step(np.array([before]))
        return observation, reward, terminated, truncated, {"won": np.array([info["success"]]), "success": 0}


@pytest.mark.parametrize("lanes", [0, 2])
def test_an_environment_that_writes_to_its_action_and_a_declared_success(lanes: int, tmp_path: Path) -> None:
    (tmp_path / "family.yaml").write_text(
        f"name: counting\nenv: {__name__}:Scaling\nhorizon: 9\nsuccess: won\n"
        "tasks: [{parameters: {first: 0}}]\n"
    )
    with Recorder(tmp_path / "mine.zarr", task=0, family=str(tmp_path / "family.yaml")) as r:
        if lanes:
            env = r.wrap(SyncVectorEnv([Scaling] * lanes, copy=False))
            env.reset()
            for _ in range(10):
                env.step(np.full((lanes, 1), 1.5, np.float32))
        else:
            run_counter(r.wrap(Scaling()), 3)
    check_counter_episodes(tmp_path / "mine.zarr")


@pytest.mark.parametrize("success", [np.zeros(2), "yes"])
def test_what_is_no_success_is_named(success: Any, tmp_path: Path) -> None:
    class Strange(Counter):
        def step(self, action: Any) -> Any:
            return *super().step(action)[:4], {"success": success}

    with Recorder(tmp_path / "mine.zarr", task=0) as r:
        env = r.wrap(Strange())
        env.reset()
        with pytest.raises(InvalidInputError, match=r"step 0: success: is .*, expected one truth value"):
            env.step(np.zeros(1))
        with pytest.raises(InvalidInputError, match="Env has no observation_space: set it"):
            r.wrap(gymnasium.Env())


def test_an_environment_that_resets_itself(tmp_path: Path) -> None:
    with Recorder(tmp_path / "mine.zarr", task=0) as r:
        env = r.wrap(Autoreset(Counter()))
        env.reset()
        for _ in range(3 + 1 + 1 + 1 + 4):
            env.step(np.zeros(1))
    assert check_counter_episodes(tmp_path / "mine.zarr") == [0, 1, 2]


def test_an_end_from_outside_truncates(tmp_path: Path) -> None:
    path = tmp_path / "mine.zarr"
    with Recorder(path, task=0) as r:
        env = r.wrap(Counter(lengths=(9,)))
        env.reset()
        env.reset()  # an episode without a step is none
        env.step(np.zeros(1))
        env.step(np.zeros(1))
        env.reset()
        env.step(np.zeros(1))
    arrays = open_store(path)[0].load()
    assert arrays.episode_length.tolist() == [2, 1]
    assert arrays.truncated.tolist() == [False, True, True]
    assert validate(path) == []


def test_an_error_in_the_block_drops_the_episode_under_way_alone(tmp_path: Path) -> None:
    path = tmp_path / "mine.zarr"

    def fail() -> None:
        with Recorder(path, task=0) as r:
            env = r.wrap(Counter())
            run_counter(env, 2)
            env.reset()
            env.step(np.zeros(1))
            raise RuntimeError("the arm fell off")

    with pytest.raises(RuntimeError, match="the arm fell off"):
        fail()
    assert check_counter_episodes(path) == [0, 1]


def test_stepping_without_a_reset_is_refused(tmp_path: Path) -> None:
    with Recorder(tmp_path / "mine.zarr", task=0) as r:
        env = r.wrap(Counter(lengths=(1,)))
        with pytest.raises(InvalidInputError, match="no episode is under way: call reset"):
            env.step(np.zeros(1))
        env.reset()
        env.step(np.zeros(1))
        with pytest.raises(InvalidInputError, match="the episode has ended: call reset"):
            env.step(np.zeros(1))


def test_the_wrapped_environment_behaves_as_before(tmp_path: Path) -> None:
    plain, other = (TimeLimit(Counter(lengths=(9,)), 2) for _ in range(2))
    with Recorder(tmp_path / "mine.zarr", task=0) as r:
        env = r.wrap(plain)
        for _ in range(3):
            np.testing.assert_equal(env.reset(seed=4), other.reset(seed=4))
            np.testing.assert_equal(env.step(np.ones(1)), other.step(np.ones(1)))
            np.testing.assert_equal(env.step(np.ones(1)), other.step(np.ones(1)))


def test_sessions_append_tasks_and_episodes(tmp_path: Path) -> None:
    path = tmp_path / "mine.zarr"
    for task, policy in ((0, "a"), (5, "a"), (0, "b"), (0, "a")):
        with Recorder(path, task=task, policy=policy, session={"who": f"{policy}{task}"}) as r:
            run_counter(r.wrap(Counter()), 2)
    assert check_counter_episodes(path, 0) == [0, 1] * 3
    assert check_counter_episodes(path, 5) == [0, 1]
    store = open_store(path)
    assert [(e.policy, e.episodes) for e in store[0].record.behaviours] == [("a", 4), ("b", 2)]
    assert store[0].load().episode_behaviour.tolist() == [0, 0, 1, 1, 0, 0]
    assert store.manifest.authors == ["a0", "a5", "b0"]
    assert store.record.edited is not None
    assert len(store.record.edited.sources) == 4


def test_two_recorders_at_once_and_flush(tmp_path: Path) -> None:
    path = tmp_path / "mine.zarr"
    with Recorder(path, task=0) as a, Recorder(path, task=1) as b:
        run_counter(a.wrap(Counter()), 1)
        run_counter(b.wrap(Counter()), 2)
        a.flush()
        assert list(open_store(path).tasks) == [0]
        run_counter(a.wrap(Counter()), 1)
        a.flush()
        a.flush()
    assert check_counter_episodes(path, 0) == [0, 0]
    assert check_counter_episodes(path, 1) == [0, 1]


def test_a_collected_store_takes_other_tasks_only(store_path: Path) -> None:
    family = get_family("point-robot")
    with pytest.raises(ConflictError, match="task 6 was collected with seeds"), Recorder(store_path, task=6):
        pass
    before = tree(store_path / "tasks" / "0006")
    with Recorder(store_path, task=7, session={"licence": "CC0-1.0"}) as r:
        env = r.wrap(family.make_env(7))
        env.reset(seed=0)
        for _ in range(family.horizon):
            env.step(np.zeros(2, np.float32))
    assert validate(store_path) == []
    store = open_store(store_path)
    assert list(store.tasks) == [0, 6, 7, 12]
    assert tree(store_path / "tasks" / "0006") == before
    assert store.record.edited is not None
    assert store.record.edited.sources[0].provenance == store.provenance
