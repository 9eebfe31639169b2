"""How environments behave towards Gymnasium's wrappers, copies and mistakes, in every family."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.wrappers import TimeAwareObservation
from numpy.typing import NDArray

from clwm_data.errors import ClwmError, InvalidInputError
from clwm_data.families import get_family
from clwm_data.families.base import Task, TaskFamily
from clwm_data.families.envs import TaskEnv
from clwm_data.families.placement import placements
from tests.data.families.test_every_family import FAMILIES, METAWORLD, actions_for, roll, there

pytest.importorskip("mujoco")


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> TaskFamily:
    return get_family(request.param)


def pickled(thing: Any) -> Any:
    return pickle.loads(pickle.dumps(thing))


COPIES = [pickled, copy.deepcopy]


@pytest.mark.parametrize("copied", COPIES)
def test_a_copy_of_an_environment_goes_on_alone(family: TaskFamily, copied: Any) -> None:
    actions = actions_for(family, 16)
    env = gymnasium.make(f"clwm/{family.name}-v0", task=there(family, 3)[0])
    copied(env).reset(seed=1)  # before the first reset
    env.reset(seed=5)
    for action in actions[:4]:
        env.step(action)
    other = copied(env)
    assert other.unwrapped.family is family
    assert np.array_equal(other.unwrapped.get_state(), env.unwrapped.get_state())
    # Both draw the same seeds from their own generators from now on.
    first = [roll(e, actions[4:]) for e in (env, other)]
    assert first[0] == first[1]
    observations = [e.reset()[0] for e in (env, other)]
    assert np.array_equal(*observations)


@pytest.mark.parametrize("copied", COPIES)
def test_a_copy_of_a_vector_environment_has_the_states_of_all_lanes(family: TaskFamily, copied: Any) -> None:
    envs = family.make_vec_env(there(family, 3, 0, 7))
    copied(envs).reset(seed=0)
    envs.reset(seed=4)
    actions = np.stack([actions_for(family, 12, seed=lane) for lane in range(3)], 1)
    for action in actions[:4]:
        envs.step(action)
    envs.active = np.array([True, False, True])  # as if the second episode had ended
    other = copied(envs)
    for action in actions[4:]:
        ours, theirs = envs.step(action), other.step(action)
        for left, right in zip(ours[:4], theirs[:4], strict=True):
            np.testing.assert_array_equal(left, right)
    masks = {"reset_mask": np.array([False, True, False])}
    np.testing.assert_array_equal(envs.reset(options=masks)[0], other.reset(options=masks)[0])


@pytest.mark.parametrize("name", ["finger-speed", "ant-dir", "point-robot", *METAWORLD[:1]])
def test_what_is_no_state_of_the_task_is_one_line_and_changes_nothing(name: str) -> None:
    family = get_family(name)
    env, envs = family.make_env(3), family.make_vec_env([0, 3])
    with pytest.raises(
        InvalidInputError, match=rf"^{name} task 3: a state has shape \(\d+,\), not \(3,\): take"
    ):
        env.set_state(np.zeros(3))  # before any reset
    env.reset(seed=1)
    state = env.get_state()
    for bad in (np.append(state, 0.0), state[:-1], state[None], []):
        with pytest.raises(InvalidInputError, match="take one of get_state"):
            env.set_state(bad)
        with pytest.raises(InvalidInputError, match=f"^{name} task 3: a state has shape"):
            envs.set_state(1, bad)
    with pytest.raises(InvalidInputError, match="a state is an array of numbers: could not convert"):
        env.set_state("left")  # type: ignore[arg-type]
    np.testing.assert_array_equal(env.get_state(), state)
    env.set_state(state.tolist())  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["finger-speed", "ant-dir", "walker-ls"])
def test_a_lane_that_has_ended_keeps_its_state_while_others_step(name: str) -> None:
    """In a copy, too: what is carried beside MuJoCo's state must not be taken from outdated fields."""
    family = get_family(name)
    envs, alone = family.make_vec_env([3, 0]), family.make_env(3)
    envs.reset(seed=7)
    actions = actions_for(family)
    for action in actions[:8]:
        observation, *_ = envs.step(np.stack([action, action]))
    state = envs.get_state(0)
    if name == "finger-speed":
        assert state[-2:].any(), "the finger does not touch the body"
    envs.active = np.array([False, True])

    def goes_on(state: NDArray[np.float64]) -> tuple[bytes, Any]:
        return alone.set_state(state).tobytes(), roll(alone, actions[8:])

    expected = goes_on(state)
    assert expected[0] == observation[0].tobytes()
    for frozen in (envs, pickled(envs)):
        for action in actions[8:]:
            frozen.step(np.stack([action, action]))
        assert goes_on(frozen.get_state(0)) == expected


def test_what_an_environment_returns_belongs_to_the_caller(family: TaskFamily) -> None:
    """Written into, it changes nothing: neither frozen lanes nor those that go on."""

    def episode(spoil: bool) -> list[np.ndarray]:
        envs = family.make_vec_env(there(family, 3, 0))
        seen = []

        def keep(*arrays: Any, infos: dict[str, Any]) -> None:
            for array in (*arrays, *(infos[key] for key in sorted(infos))):
                seen.append(np.array(array))
                if spoil:
                    array[...] = 1 if array.dtype == np.bool_ else 77
            state = envs.get_state(0)
            state[...] = 77

        observation, infos = envs.reset(seed=4)
        keep(observation, infos=infos)
        for step, action in enumerate(actions_for(family, 6)):
            if step == 3:
                envs.active = np.array([True, False])
            if step == 5:
                observation, infos = envs.reset(seed=9, options={"reset_mask": np.array([False, True])})
                keep(observation, infos=infos)
            *arrays, infos = envs.step(np.repeat(action[None], 2, axis=0))
            keep(*arrays, infos=infos)
        return seen

    for left, right in zip(episode(False), episode(True), strict=True):
        np.testing.assert_array_equal(left, right)


def test_the_horizon_is_known_and_can_be_changed(family: TaskFamily) -> None:
    name = f"clwm/{family.name}-v0"
    assert gymnasium.spec(name).max_episode_steps == family.horizon
    for env in (gymnasium.make(name, task=1), family.make_env(1), family.make_vec_env([1])):
        assert env.spec is not None
        assert env.spec.max_episode_steps == family.horizon
    made = gymnasium.make(name, task=there(family, 2)[0], max_episode_steps=3)
    assert made.spec is not None
    assert made.spec.max_episode_steps == 3
    made.reset(seed=0)
    assert [row[3] for row in roll(made, actions_for(family, 5))] == [False, False, True]
    wrapped = TimeAwareObservation(family.make_env(0))
    assert wrapped.reset(seed=0)[0].shape == (family.observation_size + 1,)
    again = gymnasium.make(family.make_env(1).spec)
    assert isinstance(again.unwrapped, TaskEnv)
    assert again.unwrapped.task.index == 1
    # A wrapper may allow more steps than the family does.
    longer = gymnasium.make(name, task=0, max_episode_steps=family.horizon + 50)
    if family.name in (
        "point-robot",
        "cheetah-vel",
        "finger-speed",
    ):  # whose episodes never end by themselves
        longer.reset(seed=0)
        still = np.zeros((family.horizon + 60, family.action_size), np.float32)
        assert len(roll(longer, still)) == family.horizon + 50


def test_pictures_run_at_the_speed_of_the_simulation(family: TaskFamily) -> None:
    env, envs = family.make_env(0), family.make_vec_env([0])
    assert env.metadata["render_fps"] == envs.metadata["render_fps"]
    assert isinstance(env.metadata["render_fps"], int)
    if family.benchmark == "point":
        return
    # An oracle: how far MuJoCo's own clock goes in an agent step.
    time = 1 if family.name not in METAWORLD else None
    if time is None:
        inner = env._simulator._envs[0]  # type: ignore[attr-defined]
        env.reset(seed=0)
        before = inner.data.time
        env.step(np.zeros(4, np.float32))
        seconds = inner.data.time - before
    else:
        env.reset(seed=0)
        before = env.get_state()[0]  # mjSTATE_TIME comes first
        env.step(np.zeros(family.action_size, np.float32))
        seconds = env.get_state()[0] - before
    assert env.metadata["render_fps"] == round(1.0 / seconds)


@pytest.mark.parametrize("task", ["1", 1.5, True, np.float64(2.0), [1]])
def test_a_task_that_is_no_whole_number_is_one_clear_error(family: TaskFamily, task: Any) -> None:
    message = rf"family {family.name}: a task is a whole number from 0 to \d+, not "
    for make in (
        family.make_env,
        lambda task: family.make_vec_env([0, task]),
        lambda task: gymnasium.make(f"clwm/{family.name}-v0", task=task),
    ):
        with pytest.raises(InvalidInputError, match=message):
            make(task)


def test_tasks_of_a_vector_environment_are_a_list() -> None:
    family = get_family("point-robot")
    for tasks in (3, "12", None):
        with pytest.raises(InvalidInputError, match="takes a list of tasks"):
            family.make_vec_env(tasks)  # type: ignore[arg-type]
    assert family.make_vec_env(np.array([3, 1])).tasks.tolist() == [3, 1]
    assert family.make_env(np.int64(4)).task.index == 4  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match="name one of its tasks 0 to 39"):
        gymnasium.make("clwm/point-robot-v0")
    with pytest.raises(InvalidInputError, match="a task is a whole number"):
        family.make_env(None)  # type: ignore[arg-type]


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_gymnasium_makes_vector_environments(mode: str) -> None:
    envs = gymnasium.make_vec("clwm/point-robot-v0", num_envs=2, vectorization_mode=mode, task=3)
    one = get_family("point-robot").make_env(3)
    assert envs.spec is not None
    assert envs.spec.max_episode_steps == get_family("point-robot").horizon
    action = np.full((2, 2), 0.5, np.float32)
    states, expected = envs.reset(seed=[4, 5])[0], one.reset(seed=5)[0]
    for _ in range(3):
        np.testing.assert_array_equal(states[1], expected)
        states, expected = envs.step(action)[0], one.step(action[1])[0]
    envs.close()


@pytest.mark.parametrize("name", ["point-robot", "hopper-mass", "finger-speed", *METAWORLD[:1]])
def test_a_closed_environment_says_so(name: str) -> None:
    family = get_family(name)
    env, envs = family.make_env(0, render_mode="rgb_array"), family.make_vec_env([0, 1])
    for made in (env, envs):
        made.reset(seed=0)
        made.close()
        made.close()
    action = np.zeros((2, family.action_size), np.float32)
    for use in (
        lambda: env.reset(seed=0),
        lambda: env.step(action[0]),
        env.get_state,
        env.render,
        lambda: pickle.dumps(env),
        lambda: envs.reset(seed=0),
        lambda: envs.step(action),
        lambda: envs.get_state(1),
    ):
        with pytest.raises(
            InvalidInputError, match=f"^{name}: the environment was closed: make another one$"
        ):
            use()


def test_a_step_needs_a_reset(family: TaskFamily) -> None:
    envs, action = family.make_vec_env([0, 1]), np.zeros((2, family.action_size), np.float32)
    with pytest.raises(gymnasium.error.ResetNeeded, match=r"call reset\(\) before step\(\)"):
        envs.step(action)
    envs.reset(seed=0, options={"reset_mask": np.array([True, False])})
    observation, reward, *_ = envs.step(action)
    assert envs.active.tolist() == [True, False]
    assert (reward[1], abs(observation[1]).max()) == (0.0, 0.0)
    with pytest.raises(gymnasium.error.ResetNeeded):
        family.make_env(0).step(action[0])


@pytest.mark.parametrize(
    ("seed", "options", "message"),
    [
        ([1], None, "one for each of the 2 lanes"),
        (-1, None, "whole number from 0 on"),
        ([0, -1], None, "whole number from 0 on"),
        ([0, 1.5], None, "whole number from 0 on"),
        (1.5, None, "one for each of the 2 lanes"),
        ("ab", None, "one for each of the 2 lanes"),
        (0, {"reset_mask": np.array([0, 1])}, "booleans"),
        (0, {"reset_mask": np.array([True])}, "booleans"),
    ],
)
def test_seeds_and_masks_are_checked(seed: Any, options: Any, message: str) -> None:
    envs = get_family("point-robot").make_vec_env([0, 1])
    with pytest.raises(InvalidInputError, match=message):
        envs.reset(seed=seed, options=options)
    envs.reset(seed=np.int64(3))  # type: ignore[arg-type]
    with pytest.raises(ClwmError, match="not an array of numbers"):
        envs.step("left")  # type: ignore[arg-type]


def test_placement_is_computed_from_the_parameters() -> None:
    """By hand: goals farther along the arc, speeds in gaps, a radius between two, a cut range."""
    placed = placements(get_family("point-robot").tasks)
    assert (placed["id"].inside, placed["ood"].inside) == (0, 0)
    placed = placements(get_family("cheetah-speed").tasks)
    assert (placed["id"].inside, placed["ood"].inside) == (10, 10)
    placed = placements(get_family("ant-goal").tasks)
    assert (str(placed["id"]), str(placed["ood"])) == (
        "all inside the train range",
        "none inside the train range",
    )
    tasks = get_family("cheetah-vel").tasks
    halved = placements([task for task in tasks if task.split != "train" or task.index <= 20])
    # Train velocities from 0.6 to 2.1: those of the id tasks 6 to 18 lie inside.
    assert str(halved["id"]) == "5 of 10 inside the train range"
    assert placements(tasks[:2]) == {}
    assert placements([*tasks, Task(40, "id", {"velocity": (1.0, 2.0)})]) == {}


@pytest.mark.parametrize("threads", [0, -1, 2.0, "2", True])
def test_threads_are_a_whole_number_from_1_on(threads: Any) -> None:
    with pytest.raises(
        InvalidInputError, match=r"^family point-robot: threads: .* is not a whole number from 1"
    ):
        get_family("point-robot").make_vec_env([0], threads=threads)


@pytest.mark.parametrize("lane", [-1, 2, 0.0, True])
def test_a_lane_is_one_of_those_there_are(lane: Any) -> None:
    envs = get_family("point-robot").make_vec_env([0, 1])
    envs.reset(seed=0)
    state = envs.get_state(np.int64(1))
    for call in (lambda: envs.get_state(lane), lambda: envs.set_state(lane, state)):
        with pytest.raises(
            InvalidInputError, match=r"^point-robot: lane .* is not a whole number from 0 to 1$"
        ):
            call()
