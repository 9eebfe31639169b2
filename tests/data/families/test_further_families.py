"""Oracles of the families that other papers compare on."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest

from clwm_data.families import get_family
from clwm_data.families.gymnasium_mujoco.base import load_model
from clwm_data.families.gymnasium_mujoco.random_parameters import RandomParametersFamily
from clwm_data.families.simulation.mujoco_models import package_file

mujoco = pytest.importorskip("mujoco")


def actions(size: int, steps: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).uniform(-1, 1, (steps, size)).astype(np.float32)


@pytest.mark.parametrize(("name", "radius"), [("point-robot-sparse", 0.2), ("point-robot-wind", 0.03)])
def test_a_point_on_an_open_field_moves_and_earns_as_by_hand(name: str, radius: float) -> None:
    family = get_family(name)
    near = 0
    for index in (0, 7, 26, 39):
        parameters = family.task(index).parameters
        wind = np.asarray(parameters.get("wind", (0.0, 0.0)))
        angle = parameters.get("angle", np.pi / 2)
        goal = np.array([np.cos(angle), np.sin(angle)])  # type: ignore[arg-type]
        env, act = family.make_env(index), family.scripted_policy(index)
        observation, _ = env.reset(seed=0)
        position = np.zeros(2)
        rng = np.random.default_rng(index)
        for _ in range(family.horizon):
            np.testing.assert_allclose(observation, position, atol=1e-6)
            action = np.clip(act(observation[None], None)[0] + rng.normal(0, 0.05, 2), -1, 1).astype(
                np.float32
            )
            observation, reward, _, _, info = env.step(action)
            position = position + 0.1 * action.astype(np.float64) + wind
            distance = float(np.linalg.norm(position - goal))
            expected = 0.0
            if distance <= radius:
                near += 1
                expected = 1.0 - distance if name == "point-robot-sparse" else 1.0
            assert reward == pytest.approx(expected)
            assert info["success"] == (distance <= radius)
            assert info["dense_reward"] == pytest.approx(-distance)
    assert near > 20


@pytest.mark.parametrize("name", ["point-robot-sparse", "point-robot-wind"])
def test_the_scripts_reach_every_goal_and_stay(name: str) -> None:
    family = get_family(name)
    for index in range(0, len(family.tasks), 5):
        env, act = family.make_env(index), family.scripted_policy(index)
        observation, _ = env.reset(seed=0)
        for _ in range(family.horizon):
            observation, reward, _, _, info = env.step(act(observation[None], None)[0].astype(np.float32))
        assert info["success"]
        assert reward == pytest.approx(1.0, abs=1e-5)


def test_winds_cover_their_square_and_can_be_resisted() -> None:
    winds = np.asarray([task.parameters["wind"] for task in get_family("point-robot-wind").tasks])
    assert 0.06 < np.abs(winds).max() <= 0.08
    assert (np.abs(winds.mean(axis=0)) < 0.02).all()


@pytest.mark.parametrize("direction", [-1, 1])
def test_cheetah_dir_earns_what_gymnasiums_own_cheetah_does(direction: int) -> None:
    own = gymnasium.make("HalfCheetah-v5", ctrl_cost_weight=0.05, forward_reward_weight=direction)
    family = get_family("cheetah-dir")
    env = family.make_env(0 if direction < 0 else 1)
    own.reset(seed=3)
    env.reset(seed=3)
    for action in actions(6, 40):
        _, expected, *_ = own.step(action)
        assert env.step(action)[1] == pytest.approx(float(expected), abs=1e-6)  # float32 there


def test_cheetah_vel_sparse_is_cheetah_vel_seen_through_a_window() -> None:
    sparse, dense = (get_family(name).make_env(2) for name in ("cheetah-vel-sparse", "cheetah-vel"))
    target = get_family("cheetah-vel").task(2).number("velocity")
    inside = 0
    for env in (sparse, dense):
        env.reset(seed=1)
    before = float(sparse._simulator._qpos[0, 0])  # type: ignore[attr-defined]
    for action in actions(6, 150, seed=2):
        observation, reward, _, _, info = sparse.step(action)
        theirs, expected, *_ = dense.step(action)
        np.testing.assert_array_equal(observation, theirs)
        assert info["dense_reward"] == expected
        after = float(sparse._simulator._qpos[0, 0])  # type: ignore[attr-defined]
        away = abs((after - before) / 0.05 - target)
        before = after
        control = 0.05 * float(np.square(action.astype(np.float64)).sum())
        assert info["success"] == (away <= 0.5)
        assert reward == pytest.approx((1.0 - away if away <= 0.5 else 0.0) - control)
        inside += away <= 0.5
    assert 10 < inside < 140


@pytest.mark.parametrize("index", [0, 27])
def test_wind_is_a_motor_that_pushes_the_root(index: int) -> None:
    """As LILAC's model has it: one more actuator on the slide, whose control is the force."""
    family = get_family("cheetah-wind")
    wind = family.task(index).number("wind")
    spec = mujoco.MjSpec.from_file(
        str(package_file("gymnasium", "envs", "mujoco", "assets", "half_cheetah.xml", family="a test"))
    )
    motor = spec.add_actuator(name="wind", target="rootx", trntype=mujoco.mjtTrn.mjTRN_JOINT)
    motor.gear[0], motor.ctrllimited = 1.0, False
    model = spec.compile()
    data = mujoco.MjData(model)
    env = family.make_env(index)
    env.reset(seed=4)
    simulator: Any = env._simulator
    data.qpos[:], data.qvel[:] = simulator._qpos[0], simulator._qvel[0]
    for action in actions(6, 40):
        x = data.qpos[0]
        data.ctrl[:] = [*action, wind]
        mujoco.mj_step(model, data, 5)
        _, reward, *_ = env.step(action)
        np.testing.assert_allclose(simulator._qpos[0], data.qpos, atol=1e-9)
        speed = (data.qpos[0] - x) / 0.05
        control = 0.05 * float(np.square(action.astype(np.float64)).sum())
        assert reward == pytest.approx(-abs(speed - 1.5) - control, abs=1e-8)


@pytest.mark.parametrize(("name", "gym"), [("hopper-param", "Hopper-v5"), ("walker-param", "Walker2d-v5")])
def test_random_parameters_are_gymnasiums_environment_with_another_model(name: str, gym: str) -> None:
    family = get_family(name)
    assert isinstance(family, RandomParametersFamily)
    model = load_model(family.file, family=name, render_mode=None)
    assert (family.bodies + 1, family.joints, family.geoms) == (model.nbody, model.nv, model.ngeom)
    own: Any = gymnasium.make(gym).unwrapped
    factors = family.task(41).parameters
    theirs = own.model
    for body in range(1, theirs.nbody):
        theirs.body_mass[body] *= factors["mass"][body - 1]  # type: ignore[index]
        for axis in range(3):
            theirs.body_inertia[body, axis] *= factors["inertia"][3 * (body - 1) + axis]  # type: ignore[index]
    for joint in range(theirs.nv):
        theirs.dof_damping[joint] *= factors["damping"][joint]  # type: ignore[index]
    for geom in range(theirs.ngeom):
        for kind in range(3):
            theirs.geom_friction[geom, kind] *= factors["friction"][3 * geom + kind]  # type: ignore[index]
    mujoco.mj_setConst(theirs, mujoco.MjData(theirs))
    env = family.make_env(41)
    observation, _ = env.reset(seed=5)
    expected, _ = own.reset(seed=5)
    np.testing.assert_allclose(observation, expected, atol=1e-6)
    for action in actions(family.action_size, 60):
        observation, reward, terminated, *_ = env.step(action)
        expected, earned, ended, *_ = own.step(action)
        np.testing.assert_allclose(observation, expected, atol=1e-5)
        # Gymnasium pays the healthy reward in the last step, too; terms of the old rand_param_envs do not.
        assert reward == pytest.approx(earned - (1.0 if ended and reward < earned - 0.5 else 0.0), abs=1e-6)
        assert terminated == ended
        if ended:
            break


def test_random_parameters_are_spread_as_the_recipe_says() -> None:
    for name in ("hopper-param", "walker-param"):
        tasks = get_family(name).tasks
        for key, base in (("mass", 1.5), ("inertia", 1.5), ("damping", 1.3), ("friction", 1.5)):
            exponents = np.log([task.parameters[key] for task in tasks]) / np.log(base)
            assert -3.0 <= exponents.min() < -2.8
            assert 2.8 < exponents.max() <= 3.0
            assert abs(exponents.mean()) < 0.3
            assert exponents.std() == pytest.approx(
                np.sqrt(3.0), rel=0.1
            )  # of a uniform distribution on [-3, 3]
