"""The families on Gymnasium's MuJoCo models against Gymnasium's own environments."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from clwm_data.families import get_family
from clwm_data.families.envs import TaskEnv
from clwm_data.families.gymnasium_mujoco.base import load_model
from clwm_data.families.gymnasium_mujoco.hopper_walker import ScaledFamily, scaled_model
from clwm_data.families.simulation.mujoco_simulator import MujocoSimulator

mujoco = pytest.importorskip("mujoco")
gymnasium = pytest.importorskip("gymnasium")

SEEDS = (0, 1, 2**63 - 1)
ALL = np.ones(1, np.bool_)
HOPPERS = (("hopper-mass", "Hopper-v5"), ("walker-mass", "Walker2d-v5"))
FRICTIONS = (("hopper-friction", "Hopper-v5"), ("walker-friction", "Walker2d-v5"))


def own(name: str) -> Any:
    return gymnasium.make(name, disable_env_checker=True).unwrapped


def actions_for(size: int, steps: int, seed: int) -> NDArray[np.float64]:
    """Uniform, in float64 but of float32 precision, as the families execute them."""
    return np.random.default_rng(seed).uniform(-1, 1, (steps, size)).astype(np.float32).astype(np.float64)


def scaled(name: str) -> ScaledFamily:
    family = get_family(name)
    assert isinstance(family, ScaledFamily)
    return family


@pytest.mark.parametrize("seed", SEEDS)
def test_cheetah_vel(seed: int) -> None:
    task = 23
    target = np.linspace(0.1, 4.0, 40)[task]
    env, reference = get_family("cheetah-vel").make_env(task), own("HalfCheetah-v5")
    observation, _ = env.reset(seed=seed)
    expected, _ = reference.reset(seed=seed)
    assert np.array_equal(observation[:17], expected.astype(np.float32))
    for action in actions_for(6, 200, seed):
        observation, reward, terminated, truncated, _ = env.step(action)
        expected, _, _, _, info = reference.step(action)
        assert np.array_equal(observation[:17], expected.astype(np.float32))
        mujoco.mj_kinematics(reference.model, reference.data)
        assert np.array_equal(observation[17:], reference.data.body("torso").xpos.astype(np.float32))
        assert reward == -abs(info["x_velocity"] - target) + 0.5 * info["reward_ctrl"]
    assert truncated
    assert not terminated


@pytest.mark.parametrize("seed", SEEDS)
def test_ant_dir_along_x_is_ant(seed: int) -> None:
    env, reference = get_family("ant-dir").make_env(0), own("Ant-v5")
    assert check_ant(env, reference, seed, lambda info, reward: reward), "these ants fall over"


@pytest.mark.parametrize("task", [7, 10, 31])
def test_ant_dir_in_other_directions(task: int) -> None:
    angle = task * 2.0 * np.pi / 40.0

    def expected(info: dict[str, float], reward: float) -> float:
        along = info["x_velocity"] * np.cos(angle) + info["y_velocity"] * np.sin(angle)
        return pytest.approx(reward - info["x_velocity"] + along, abs=1e-12)  # type: ignore[no-any-return]

    check_ant(get_family("ant-dir").make_env(task), own("Ant-v5"), task, expected)


def check_ant(env: TaskEnv, reference: Any, seed: int, expected_reward: Any) -> bool:
    """Compare an episode step by step; whether it ended early."""
    observation, _ = env.reset(seed=seed)
    expected, _ = reference.reset(seed=seed)
    ended = False
    for action in actions_for(8, 200, seed):
        assert np.array_equal(observation, expected[:27].astype(np.float32))
        if ended:
            break
        observation, reward, ended, _, _ = env.step(action)
        expected, own_reward, own_end, _, info = reference.step(action)
        assert reward == expected_reward(info, own_reward)
        assert ended == own_end
    return ended


def test_ant_goal() -> None:
    task = 13  # radius 1.2, the fourth angle
    angle = -np.pi / 2 + 3 * np.pi / 9
    goal = np.array([1.2 * np.cos(angle), 1.2 * np.sin(angle)])
    family = get_family("ant-goal")
    assert family.task(task).parameters["goal"] == pytest.approx(tuple(goal))
    env, reference = family.make_env(task), own("Ant-v5")
    observation, _ = env.reset(seed=3)
    reference.reset(seed=3)
    for step, action in enumerate(actions_for(8, 200, 3)):
        observation, reward, terminated, truncated, _ = env.step(action)
        _, _, _, _, info = reference.step(action)
        state = np.concatenate([reference.data.qpos, reference.data.qvel])
        assert np.array_equal(observation, state.astype(np.float32))
        distance = np.abs(state[:2] - goal).sum()
        assert reward == pytest.approx(
            -distance - 0.1 * np.square(action).sum() + info["reward_contact"], abs=1e-12
        )
        assert not terminated, "Ant-v5 would have ended, ant-goal goes on"
        assert truncated == (step == 199)


@pytest.mark.parametrize(("name", "reference_name"), HOPPERS)
@pytest.mark.parametrize("seed", SEEDS)
def test_hopper_and_walker_at_scale_one_are_gymnasiums(name: str, reference_name: str, seed: int) -> None:
    family = scaled(name)
    model = load_model(family.file, family=name, render_mode=None)
    simulator, reference = family.simulator([0], [model]), own(reference_name)
    check_scaled(simulator, reference, seed)


@pytest.mark.parametrize(("name", "reference_name"), [*HOPPERS, *FRICTIONS])
@pytest.mark.parametrize("task", [0, 39])
def test_scaled_hopper_and_walker_are_gymnasiums_on_an_edited_model(
    name: str, reference_name: str, task: int
) -> None:
    scale = 1.5 ** (-2.0 + 4.0 * task / 39.0)
    reference = own(reference_name)
    if name.endswith("mass"):
        reference.model.body_mass[:] *= scale
        reference.model.body_inertia[:] *= scale
        mujoco.mj_setConst(reference.model, reference.data)
    else:
        reference.model.geom_friction[:] *= scale
    simulator = get_family(name).make_simulator([task])
    assert isinstance(simulator, MujocoSimulator)
    check_scaled(simulator, reference, task)


def check_scaled(simulator: MujocoSimulator, reference: Any, seed: int) -> None:
    simulator.reset(np.zeros(1, np.int64), [seed])
    expected, _ = reference.reset(seed=seed)
    ended = False
    for action in actions_for(reference.model.nu, 200, seed):
        assert np.array_equal(simulator.observe()[0], expected)
        if ended:
            break
        result = simulator.step(action[None], ALL)
        expected, reward, ended, _, _ = reference.step(action)
        assert result.reward.item() == reward
        assert result.terminated.item() == ended
    assert ended, "random hoppers and walkers fall over within 200 steps"


@pytest.mark.parametrize("name", ["hopper-mass", "walker-mass"])
def test_scaled_masses_are_those_of_a_model_compiled_with_other_densities(name: str) -> None:
    family = scaled(name)
    base = load_model(family.file, family=name, render_mode=None)
    spec = mujoco.MjSpec.from_file(f"{gymnasium.__path__[0]}/envs/mujoco/assets/{family.file}")
    for geom in spec.geoms:
        geom.density *= 1.7
    compiled, ours = spec.compile(), scaled_model(base, "mass", 1.7)
    assert ours.body_mass.sum() == pytest.approx(1.7 * base.body_mass.sum())
    for field in (
        "body_mass",
        "body_inertia",
        "body_subtreemass",
        "dof_invweight0",
        "body_invweight0",
        "dof_M0",
    ):
        assert not np.allclose(getattr(base, field), getattr(compiled, field), rtol=0.1), field
        assert np.allclose(getattr(ours, field), getattr(compiled, field), rtol=1e-9), field


@pytest.mark.parametrize("name", ["hopper-friction", "walker-friction"])
def test_friction_is_scaled_and_nothing_else(name: str) -> None:
    base = load_model(scaled(name).file, family=name, render_mode=None)
    model = scaled_model(base, "friction", 0.5)
    assert np.array_equal(model.geom_friction, 0.5 * base.geom_friction)
    assert np.array_equal(model.body_mass, base.body_mass)
    assert np.array_equal(model.dof_invweight0, base.dof_invweight0)


@pytest.mark.parametrize(
    ("name", "entry", "value", "healthy"),
    [
        ("hopper-mass", "z", 0.7, False),
        ("hopper-mass", "z", 0.70001, True),
        ("hopper-mass", "angle", 0.2, False),
        ("hopper-mass", "angle", -0.19999, True),
        ("hopper-mass", "velocity", 100.0, False),
        ("hopper-mass", "velocity", -99.999, True),
        ("walker-mass", "z", 0.8, False),
        ("walker-mass", "z", 1.99999, True),
        ("walker-mass", "z", 2.0, False),
        ("walker-mass", "angle", -1.0, False),
        ("walker-mass", "angle", 0.99999, True),
        ("walker-mass", "velocity", 101.0, True),
    ],
)
def test_bounds_of_health(name: str, entry: str, value: float, healthy: bool) -> None:
    simulator: Any = get_family(name).make_simulator([20])
    simulator.reset(np.zeros(1, np.int64), [0])
    state = simulator.get_state(0)
    positions = simulator._qpos.shape[1]
    index = {"z": 2, "angle": 3, "velocity": 1 + positions + 4}[entry]  # time, qpos, qvel, ...
    state[index] = value
    simulator.set_state(0, state)
    assert simulator.healthy().item() == healthy


@pytest.mark.parametrize(("height", "healthy"), [(0.2, True), (0.19, False), (1.0, True), (1.01, False)])
def test_ant_dir_ends_outside_its_heights(height: float, healthy: bool) -> None:
    """The physics may not move it: the state is set after the step that is judged."""
    simulator: Any = get_family("ant-dir").make_simulator([0])
    simulator.reset(np.zeros(1, np.int64), [0])
    state = simulator.get_state(0)
    state[3] = height
    simulator._lanes.step = lambda substeps, active: simulator.set_state(0, state)
    assert simulator.step(np.zeros((1, 8)), ALL).terminated.item() != healthy


def test_the_reward_of_cheetah_vel_by_hand() -> None:
    """Moved from x = 0 to 0.1 m in 0.05 s, i.e. at 2 m/s, with a target of 0.1 m/s."""
    simulator: Any = get_family("cheetah-vel").make_simulator([0])
    simulator.reset(np.zeros(1, np.int64), [0])
    state = simulator.get_state(0)
    state[1] = 0.0
    simulator.set_state(0, state)
    moved = state.copy()
    moved[1] = 0.1
    simulator._lanes.step = lambda substeps, active: simulator.set_state(0, moved)
    action = np.array([[1.0, -1.0, 0.5, 0.0, 0.0, 0.0]])
    assert simulator.step(action, ALL).reward.item() == pytest.approx(-1.9 - 0.05 * 2.25)
