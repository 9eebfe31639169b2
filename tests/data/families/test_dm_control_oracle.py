"""The contextual dm_control families against the suite's own environments."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from clwm_data.families import get_family
from clwm_data.families.dm_control.base import DmControlFamily, SpeedReward
from clwm_data.families.dm_control.walker import WalkerSimulator

mujoco = pytest.importorskip("mujoco")
pytest.importorskip("dm_control")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it looks for a display
    from dm_control import suite
    from dm_control.utils import rewards

TASKS = {"cheetah": "run", "walker": "run", "finger": "spin"}
SPEEDS: dict[str, Any] = {
    "cheetah": lambda physics: physics.speed(),
    "walker": lambda physics: physics.horizontal_velocity(),
    "finger": lambda physics: physics.hinge_velocity(),
}
LENGTHS = {"cheetah": 0.5, "walker": 0.3, "finger": 0.16}


def family_of(name: str) -> DmControlFamily:
    family = get_family(name)
    assert isinstance(family, DmControlFamily)
    return family


def own(domain: str, seed: int) -> Any:
    """The suite's environment, drawing from the generator that the families draw from."""
    random = np.random.RandomState(np.random.MT19937(seed))
    return suite.load(domain, TASKS[domain], task_kwargs={"random": random})


def flat(observation: dict[str, Any]) -> NDArray[np.float64]:
    return np.concatenate([np.ravel(value) for value in observation.values()])


def tolerance(value: float, target: float) -> float:
    sign, speed = np.sign(target), abs(target)
    return float(
        rewards.tolerance(
            sign * value, bounds=(speed, np.inf), margin=speed, value_at_margin=0.1, sigmoid="linear"
        )
    )


def expected_reward(domain: str, environment: Any, target: float) -> float:
    progress = tolerance(SPEEDS[domain](environment.physics), target)
    if domain != "walker":
        return progress
    environment.task._move_speed = 0  # its reward is then that for standing
    return float(environment.task.get_reward(environment.physics) * (5 * progress + 1) / 6)


@pytest.mark.parametrize("seed", [0, 2**63 - 1])
@pytest.mark.parametrize("domain", TASKS)
def test_the_episode_is_the_suites(domain: str, seed: int) -> None:
    family = family_of(f"{domain}-speed")
    tasks = [2, 14, 27, 33]  # fast backwards, slow, fast forwards, between
    simulators = [family.make_simulator([task]) for task in tasks]
    environment = own(domain, seed)
    observation = environment.reset().observation
    for simulator in simulators:
        simulator.reset(np.zeros(1, np.int64), [seed])
        assert np.array_equal(simulator.observe()[0], flat(observation))
    rng = np.random.default_rng(seed)
    for _ in range(120):
        action = rng.uniform(-1, 1, family.action_size)
        expected = np.zeros(len(tasks))
        for _ in range(2):
            observation = environment.step(action).observation
            expected += [
                expected_reward(domain, environment, family.task(task).number("speed")) for task in tasks
            ]
        for simulator, reward in zip(simulators, expected, strict=True):
            result = simulator.step(action[None], np.ones(1, np.bool_))
            assert np.array_equal(simulator.observe()[0], flat(observation))
            assert result.reward.item() == pytest.approx(reward, abs=1e-14)
            assert not result.terminated.item()


@pytest.mark.parametrize("domain", TASKS)
def test_the_usual_length_gives_the_suites_model(domain: str) -> None:
    theirs = own(domain, 0)
    theirs.reset()  # the spin task sets the damping of the hinge here
    ours = family_of(f"{domain}-ls").load_model(LENGTHS[domain])
    for field in dir(ours):
        value = getattr(ours, field)
        if isinstance(value, np.ndarray) and not field.startswith(("_", "tex_")):
            assert np.allclose(value, getattr(theirs.physics.model.ptr, field), atol=1e-15), field


def test_lengths_of_the_cheetah() -> None:
    model = family_of("cheetah-ls").load_model(0.65)
    assert model.geom("torso").size[1] == pytest.approx(0.65)
    assert model.geom("torso").pos == pytest.approx([0, 0, 0])
    assert model.geom("head").pos == pytest.approx([0.75, 0, 0.1])
    assert model.body("bthigh").pos == pytest.approx([-0.65, 0, 0])
    assert model.body("fthigh").pos == pytest.approx([0.65, 0, 0])
    assert model.body_mass.sum() == pytest.approx(14.0)
    usual = family_of("cheetah-ls").load_model(None)
    assert model.body("torso").mass > usual.body("torso").mass
    assert model.body("ffoot").mass < usual.body("ffoot").mass


def test_lengths_of_the_walker() -> None:
    model, usual = (family_of("walker-ls").load_model(length) for length in (0.45, None))
    assert model.geom("torso").size[:2] == pytest.approx([0.07, 0.45])
    assert model.body("right_thigh").pos == pytest.approx(usual.body("right_thigh").pos)
    density, radius, half = 1000.0, 0.07, 0.45
    volume = np.pi * radius**2 * (2 * half + 4 / 3 * radius)
    assert model.body("torso").mass == pytest.approx(density * volume)


def test_lengths_of_the_finger() -> None:
    model = family_of("finger-ls").load_model(0.3)
    assert model.geom("distal").size[1] == pytest.approx(0.15)  # half-lengths
    assert model.geom("distal").pos == pytest.approx([0, 0, -0.15])
    assert model.geom("fingertip").size[1] == pytest.approx((0.301 - 0.27) / 2)
    assert model.geom("fingertip").pos[2] == pytest.approx(-(0.27 + 0.301) / 2)
    assert model.body("spinner").pos == pytest.approx([0.34, 0, 0.4])
    assert model.geom("cap1").size == pytest.approx([0.04, 0.23, 0])
    assert model.geom("cap2").size == pytest.approx([0.04, 0.23, 0])
    assert model.dof_damping[2] == 0.03


@pytest.mark.parametrize(
    ("name", "tasks"),
    [
        (
            "cheetah-speed",
            {0: -10.0, 9: -6.0, 10: -2.0, 19: 2.0, 20: 6.0, 29: 10.0, 30: -5.0, 34: -3.0, 39: 5.0},
        ),
        (
            "walker-speed",
            {0: -5.0, 9: -3.0, 10: -1.0, 19: 1.0, 29: 5.0, 30: -2.5, 34: -1.5, 35: 1.5},
        ),
        ("finger-speed", {0: -15.0, 9: -9.0, 10: -3.0, 19: 3.0, 29: 15.0, 30: -8.0, 34: -4.0, 39: 8.0}),
    ],
)
def test_speeds(name: str, tasks: dict[int, float]) -> None:
    family = get_family(name)
    assert {index: family.task(index).number("speed") for index in tasks} == pytest.approx(tasks)


@pytest.mark.parametrize(
    ("name", "tasks"),
    [
        (
            "cheetah-ls",
            {
                0: (3, 0.4),
                1: (3, 0.45),
                5: (4, 0.4),
                29: (8, 0.6),
                30: (1, 0.3),
                31: (1, 0.35),
                37: (10, 0.7),
            },
        ),
        (
            "walker-ls",
            {4: (2, 0.4), 5: (2.5, 0.2), 29: (4.5, 0.4), 32: (1.5, 0.1), 37: (5.5, 0.5)},
        ),
        ("finger-ls", {0: (5, 0.15), 29: (10, 0.25), 30: (3, 0.1), 33: (4, 0.125), 34: (11, 0.275)}),
    ],
)
def test_speeds_and_lengths(name: str, tasks: dict[int, tuple[float, float]]) -> None:
    for index, (speed, length) in tasks.items():
        parameters = dict(get_family(name).task(index).parameters)
        assert parameters == pytest.approx({"speed": speed, "length": length})


def test_progress_by_hand() -> None:
    progress = SpeedReward(np.array([10.0, 10.0, 10.0, -4.0, -4.0, -4.0, 10.0, 0.0, 0.0]))
    velocity = np.array([10.0, 0.0, 5.0, -5.0, 0.0, 4.0, -2.0, 0.0, -0.1])
    # at the target, at rest, half way; beyond it, at rest, the wrong way; the wrong way, but not far;
    # a target of zero: not the wrong way, the wrong way
    expected = [1.0, 0.1, 0.55, 1.0, 0.1, 0.0, 0.0, 1.0, 0.0]
    assert progress(velocity) == pytest.approx(expected)


@given(st.floats(-20, 20).filter(lambda target: abs(target) > 1e-3), st.floats(-100, 100))
def test_progress_is_dm_controls_tolerance(target: float, velocity: float) -> None:
    ours = SpeedReward(np.array([target]))(np.array([velocity])).item()
    assert ours == pytest.approx(tolerance(velocity, target), abs=1e-9)


@pytest.mark.parametrize(
    ("height", "lean", "expected"),
    [
        (1.3, 1.0, 1.0),  # tall and upright
        (1.2, -1.0, 0.75),  # on its head
        (0.6, 1.0, (3 * 0.1 + 1) / 4),  # at the margin of the Gaussian
        (0.9, 0.0, (3 * 0.1**0.25 + 0.5) / 4),  # half way there, lying
    ],
)
def test_standing_by_hand(height: float, lean: float, expected: float) -> None:
    simulator = get_family("walker-speed").make_simulator([0])
    assert isinstance(simulator, WalkerSimulator)
    simulator._lanes.read("xpos")[0, 1, 2] = height
    simulator._lanes.read("xmat")[0, 1, 8] = lean
    assert simulator.standing().item() == pytest.approx(expected)
