from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from numpy.typing import NDArray

from clwm_data.collection.collector import collect
from clwm_data.families import get_family
from clwm_data.families.metaworld.family import SHARED_DYNAMICS, MetaWorld
from clwm_data.families.metaworld.goals import goal_vectors
from clwm_data.families.metaworld.names import TASK_NAMES
from clwm_data.manifest import BehaviourEntry, Manifest
from clwm_data.store.replay import replay

metaworld = pytest.importorskip("metaworld")
drawn = pytest.importorskip("docs.generate.metaworld_goals").drawn

#: An object moved to a goal on one model; a body moved in the model; a margin kept from the first step.
FAMILIES = ("mw-push", "mw-door-lock", "mw-bin-picking")


def family_of(name: str) -> MetaWorld:
    family = get_family(name)
    assert isinstance(family, MetaWorld)
    return family


def by_hand(name: str, task: int) -> Any:
    """Meta-World's own environment, the way its README uses it."""
    version = f"{name.removeprefix('mw-')}-v3"
    benchmark = metaworld.ML1(version, seed=42)
    env = benchmark.train_classes[version]()
    env.set_task(benchmark.train_tasks[task])
    return env


def random_actions(steps: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).uniform(-1, 1, (steps, 4)).astype(np.float32)


def roll(env: Any, actions: NDArray[np.float32]) -> NDArray[np.float64]:
    """Rows of observation, reward, success."""
    rows = []
    for action in actions:
        observation, reward, _, _, info = env.step(action)
        rows.append([*observation, reward, info["success"]])
    return np.asarray(rows, np.float64)


def test_the_static_names_are_those_of_metaworld() -> None:
    assert [f"{name}-v3" for name in TASK_NAMES] == metaworld.ML1.ENV_NAMES


def test_a_family_can_be_listed_without_metaworld_but_not_simulated() -> None:
    code = """
import sys
sys.modules["metaworld"] = None  # makes its import fail as if it were not installed
from clwm_data.errors import ClwmError
from clwm_data.families import family_names, get_family
family = get_family("mw-reach")
assert "mw-door-open" in family_names()
assert len(family.split("train")) == 40 and family.split("ood") == ()
assert len(family.task(0).parameters["goal"]) == 3
try:
    family.make_env(0)
except ClwmError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == 'simulating mw-reach needs the package metaworld: pip install "clwm[sim]"\n'


@pytest.mark.parametrize("name", [*FAMILIES, "mw-basketball"])
def test_the_kept_goals_are_those_that_metaworld_draws(name: str) -> None:
    name = name.removeprefix("mw-")
    np.testing.assert_array_equal(goal_vectors(name), drawn(name))


def test_every_benchmark_has_its_goals() -> None:
    assert {goal_vectors(name).shape for name in TASK_NAMES} == {(50, 3), (50, 6)}


def test_a_store_is_collected_and_checked_elsewhere_without_metaworld(tmp_path: Path) -> None:
    manifest = Manifest(
        name="mw",
        family="mw-reach",
        tasks=[2, 45],
        behaviours=[BehaviourEntry(policy="scripted", noise=0.1, episodes=1)],
    )
    store = collect(manifest, tmp_path / "mw.zarr")
    arrays = store.tasks[45].load()
    assert arrays.success is not None
    assert arrays.success.any()
    assert not arrays.observation[:, 36:39].any()
    assert store.tasks[45].parameters == dict(family_of("mw-reach").task(45).parameters)
    assert replay(store.path, 1).findings == []
    code = f"""
import sys
for name in ("metaworld", "mujoco", "gymnasium"):
    sys.modules[name] = None
from clwm_data.store.validate import validate
print(validate({str(store.path)!r}))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_splits_are_the_first_forty_and_the_last_ten() -> None:
    family = family_of("mw-push")
    assert family.split("train") == tuple(range(40))
    assert family.split("id") == tuple(range(40, 50))
    assert family.split("ood") == ()


@pytest.mark.parametrize("name", FAMILIES)
def test_episode_equals_metaworlds_own_environment(name: str) -> None:
    corner = np.ones((30, 4), np.float32)  # out of the workspace, to which Meta-World clips
    task, actions = 43, np.concatenate([random_actions(30), corner])
    env: Any = family_of(name).make_env(task)
    own = by_hand(name, task)
    observation, info = env.reset(seed=5)
    expected, _ = own.reset()
    np.testing.assert_array_equal(observation, expected.astype(np.float32))
    np.testing.assert_array_equal(info["privileged"], own._target_pos)
    for action in actions:
        observation, reward, terminated, truncated, info = env.step(action)
        _, first, _, _, _ = own.step(action)
        expected, second, _, _, _ = own.step(action)
        np.testing.assert_array_equal(observation, expected.astype(np.float32))
        assert (reward, terminated, truncated) == (first + second, False, False)
        assert not observation[36:39].any()
        np.testing.assert_array_equal(info["privileged"], own._target_pos)
        data = env._simulator._envs[0].data
        for field in ("qpos", "qvel", "qacc_warmstart", "ctrl", "mocap_pos", "mocap_quat"):
            np.testing.assert_array_equal(getattr(data, field), getattr(own.data, field))


def test_parameters_place_the_object_and_the_goal() -> None:
    parameters = family_of("mw-push").task(7).parameters
    own = by_hand("mw-push", 7)
    own.reset()
    # The heights are Meta-World's: both lie on the table.
    np.testing.assert_array_equal(np.asarray(parameters["object"])[:2], own.obj_init_pos[:2])
    np.testing.assert_array_equal(np.asarray(parameters["goal"])[:2], own._target_pos[:2])
    assert set(family_of("mw-door-lock").task(0).parameters) == {"object"}


def test_success_of_the_first_repeat_counts() -> None:
    class Flickering:
        """Successful only in the first of two steps."""

        observation = np.zeros(39)
        count = 0

        def step(self, action: Any) -> Any:
            self.count += 1
            return self.observation, 1.5, False, False, {"success": float(self.count % 2 == 1)}

    simulator: Any = family_of("mw-push").make_simulator([0])
    simulator._envs = [Flickering()]
    result = simulator.step(np.zeros((1, 4)), np.ones(1, np.bool_))
    assert result.success is not None
    assert (result.reward[0], result.success[0]) == (3.0, True)


@pytest.mark.parametrize("name", FAMILIES)
def test_an_episode_depends_on_its_task_alone(name: str) -> None:
    """A lane that was in another episode, one that is retargeted, and a fresh environment: the same bits."""
    family, actions = family_of(name), random_actions(15)
    fresh = family.make_env(3)
    fresh.reset(seed=0)
    expected = roll(fresh, actions)
    used = family.make_vec_env([11, 3])
    used.reset(seed=1)
    for action in random_actions(10, seed=1):
        used.step(np.stack([action, action]))
    used.reset(seed=2, options={"reset_mask": np.array([False, True])})
    rows = []
    for action in actions:
        observation, reward, _, _, info = used.step(np.stack([-action, action]))
        rows.append([*observation[1], reward[1], info["success"][1]])
    np.testing.assert_array_equal(expected, rows)


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("before", [0, 12])
def test_a_fresh_environment_continues_from_a_state(name: str, before: int) -> None:
    family = family_of(name)
    env = family.make_env(41)
    env.reset(seed=0)
    roll(env, random_actions(before, seed=1))
    state, observation = env.get_state(), env._observe()
    expected = roll(env, random_actions(20))
    other = family.make_env(41)
    np.testing.assert_array_equal(other.set_state(state), observation)
    np.testing.assert_array_equal(other.get_state(), state)
    np.testing.assert_array_equal(roll(other, random_actions(20)), expected)
    other.reset(seed=0)
    roll(other, random_actions(7, seed=3))
    other.set_state(state)
    np.testing.assert_array_equal(roll(other, random_actions(20)), expected)


def test_an_episode_may_be_longer_than_metaworlds() -> None:
    """Metaworld refuses its step 501; a wrapper may allow more, and an agent's step is two of them."""
    env = gymnasium.make("clwm/mw-reach-v0", task=0, max_episode_steps=260)
    env.reset(seed=0)
    truncations = [env.step(np.zeros(4, np.float32))[3] for _ in range(260)]
    assert truncations == [False] * 259 + [True]


def test_a_whole_episode_fits_after_a_state_from_the_end_of_another() -> None:
    env = family_of("mw-reach").make_env(0)
    env.reset(seed=0)
    for _ in range(2):
        truncations = [env.step(np.zeros(4, np.float32))[3] for _ in range(200)]
        assert truncations == [False] * 199 + [True]
        env.set_state(env.get_state())


def test_worker_processes_give_the_same_bits_as_the_loop() -> None:
    tasks, actions = [0, 44, 7], random_actions(30).reshape(10, 3, 4)
    history: dict[int, list[Any]] = {}
    for threads in (1, 2):
        env = family_of("mw-push").make_vec_env(tasks, threads=threads)
        observation, info = env.reset(seed=0)
        seen: list[Any] = [observation, info["privileged"]]
        for number, action in enumerate(actions):
            if number == 5:
                seen.append(env.reset(seed=1, options={"reset_mask": np.array([True, False, True])})[0])
            observation, reward, _, _, info = env.step(action)
            seen += [observation, reward, info["success"], info["privileged"]]
        seen += [env.get_state(2), env.set_state(1, env.get_state(1))]
        history[threads] = seen
        env.close()
    for one, two in zip(history[1], history[2], strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("name", ["mw-reach", "mw-push"])
def test_the_scripted_policy_solves_an_unseen_task_without_seeing_the_goal_in_the_observation(
    name: str,
) -> None:
    family = family_of(name)
    env, policy = family.make_env(45), family.scripted_policy(45)
    observation, info = env.reset(seed=0)
    solved = truncated = False
    while not (solved or truncated):
        before = observation.copy()
        action = policy(observation[None], info["privileged"][None])[0]
        np.testing.assert_array_equal(observation, before)
        observation, _, _, truncated, info = env.step(np.clip(action, -1, 1).astype(np.float32))
        solved = info["success"]
    assert solved


def test_the_scripted_policy_refuses_to_guess_the_goal() -> None:
    policy = family_of("mw-reach").scripted_policy(0)
    with pytest.raises(ValueError, match="hidden goal"):
        policy(np.zeros((1, 39), np.float32), None)


@pytest.mark.parametrize("name", ["mw-reach", "mw-button-press"])
def test_dynamics_vary_exactly_where_the_compiled_model_does(name: str) -> None:
    family = family_of(name)
    simulator: Any = family.make_simulator([0, 1])
    simulator.reset(np.arange(2), [0, 0])
    models = [env.model for env in simulator._envs]
    fields = [field for field in dir(models[0]) if isinstance(getattr(models[0], field), np.ndarray)]
    differing = {f for f in fields if not np.array_equal(getattr(models[0], f), getattr(models[1], f))}
    assert family.dynamics_vary == bool(differing - {"site_pos"})  # sites only mark places
    assert family.dynamics_vary == (name.removeprefix("mw-") not in SHARED_DYNAMICS)


@pytest.mark.filterwarnings("ignore:.*A Box observation space")
def test_gymnasiums_checker_passes() -> None:
    check_env(family_of("mw-reach").make_env(0), skip_render_check=True)
