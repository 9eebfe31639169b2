"""Point-robot by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from clwm_data.families import get_family
from clwm_data.families.point_robot.family import PointRobotSimulator

ALL = np.ones(1, np.bool_)
numbers = st.floats(-1.0, 1.0, allow_subnormal=False)


def at(x: float, y: float, goal: tuple[float, float] = (0.0, 1.0)) -> PointRobotSimulator:
    simulator = PointRobotSimulator([0], np.array([goal]))
    simulator.set_state(0, np.array([x, y]))
    return simulator


def move(simulator: PointRobotSimulator, x: float, y: float) -> tuple[NDArray[np.float64], float]:
    result = simulator.step(np.array([[x, y]]), ALL)
    assert not result.terminated.any()
    return simulator.observe()[0], result.reward.item()


@pytest.mark.parametrize(
    ("start", "action", "end", "reward"),
    [
        ((0.0, -1.0), (0.0, 1.0), (0.0, -0.9), -1.9),  # up the hallway
        ((0.05, -0.5), (1.0, 0.0), (0.1, -0.5), -1.5),  # against its wall
        ((0.0, -0.05), (0.5, 1.0), (0.05, 0.05), -np.hypot(0.05, 0.95)),  # out of it
        ((0.05, 0.05), (0.0, -1.0), (0.05, -0.05), -1.05),  # back into it
        ((0.5, 0.05), (0.0, -1.0), (0.5, 0.0), -np.hypot(0.5, 1.0)),  # beside its mouth
        ((0.3, 0.6), (-1.0, 1.0), (0.2, 0.7), -np.hypot(0.2, 0.3)),  # in the open
    ],
)
def test_a_step(
    start: tuple[float, float], action: tuple[float, float], end: tuple[float, float], reward: float
) -> None:
    position, got = move(at(*start), *action)
    assert position == pytest.approx(end)
    assert got == pytest.approx(reward)


@given(
    start=st.tuples(numbers, numbers).filter(lambda p: p[1] >= 0.0 or abs(p[0]) <= 0.1),
    actions=st.lists(st.tuples(numbers, numbers), min_size=1, max_size=30),
)
def test_the_walls_of_the_hallway_hold(
    start: tuple[float, float], actions: list[tuple[float, float]]
) -> None:
    simulator = at(*start)
    for action in actions:
        (x, y), _ = move(simulator, *action)
        assert y >= 0.0 or abs(x) <= 0.1


def test_goals_lie_on_the_upper_half_circle() -> None:
    goals = np.array([task.parameters["goal"] for task in get_family("point-robot").tasks])
    assert np.hypot(*goals.T) == pytest.approx(np.ones(40))
    assert goals[0] == pytest.approx([1.0, 0.0])
    assert goals[39] == pytest.approx([-1.0, 0.0], abs=1e-12)
    assert np.arctan2(goals[13, 1], goals[13, 0]) == pytest.approx(np.pi / 3)


@pytest.mark.parametrize("task", [0, 20, 39])
def test_the_scripted_policy_arrives(task: int) -> None:
    family = get_family("point-robot")
    env, policy = family.make_env(task), family.scripted_policy(task)
    observation, _ = env.reset(seed=0)
    for _ in range(family.horizon):
        observation, *_ = env.step(policy(observation[None], None)[0].astype(np.float32))
    assert observation == pytest.approx(np.asarray(family.task(task).parameters["goal"]), abs=1e-3)
