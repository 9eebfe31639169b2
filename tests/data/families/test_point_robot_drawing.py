from __future__ import annotations

import numpy as np

from clwm_data.families import get_family


def test_without_render_mode_there_is_no_picture() -> None:
    env = get_family("point-robot").make_env(0)
    env.reset(seed=0)
    assert env.render() is None


def test_point_robot_shows_the_robot_its_way_and_the_goal() -> None:
    env = get_family("point-robot").make_env(19, render_mode="rgb_array")
    env.reset(seed=0)
    env.step(np.array([0.0, 1.0], np.float32))
    for _ in range(4):
        env.step(np.array([0.0, 1.0], np.float32))
    picture = env.render()
    assert picture is not None

    def colour(x: float, y: float) -> tuple[int, ...]:
        return tuple(picture[int(120 - 100 * y), int(160 + 100 * x)].tolist())

    goal = env.task.parameters["goal"]
    assert isinstance(goal, tuple)
    assert colour(*goal) == (214, 69, 53)
    assert colour(0.0, -0.5) == (28, 62, 112)
    assert colour(0.0, -0.8) == (90, 146, 214)
    assert colour(0.5, -0.5) == (196, 199, 204)
    env.set_state(np.array([0.0, 0.5]))
    fresh = env.render()
    assert fresh is not None
    assert tuple(fresh[200, 160].tolist()) == (250, 250, 247)
