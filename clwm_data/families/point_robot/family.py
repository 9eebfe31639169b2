"""A point in the plane that leaves a hallway and moves to a goal on the upper half circle."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from clwm_data.families.base import ScriptedPolicy, Task, TaskFamily, splits_of
from clwm_data.families.point_robot.drawing import draw
from clwm_data.families.simulation.simulator import Simulator, StepResult

STEP = 0.1  # displacement per unit of action
HALLWAY_HALF_WIDTH = 0.1
START = (0.0, -1.0)  # the closed end of the hallway
RADIUS = 1.0


class PointRobotSimulator(Simulator):
    """State and observation are the position (x, y); y < 0 is the hallway, with walls at abs(x) = 0.1."""

    def __init__(self, tasks: Sequence[int], goals: NDArray[np.float64], *, keep_paths: bool = False) -> None:
        self.tasks = np.asarray(tasks, np.int64)
        self._goals = goals
        self._position = np.tile(np.asarray(START), (len(tasks), 1))
        # [L][n][2] positions since the episode began, for pictures only.
        self._paths = [[position] for position in self._position] if keep_paths else None

    def reset(self, lanes: NDArray[np.int64], seeds: Sequence[int]) -> None:
        """Every episode starts at the same place: the seeds are not used."""
        self._position = self._position.copy()
        self._position[lanes] = START
        self._begin_paths(lanes)

    def step(self, action: NDArray[np.float64], active: NDArray[np.bool_]) -> StepResult:
        """Move by 0.1 per unit of action; the reward belongs to the new position."""
        y = self._position[:, 1]
        new_x, new_y = (self._position + STEP * action).T
        in_open = y >= 0.0
        # From the open field the hallway is entered only through its mouth; beside it, y = 0 is a wall.
        floor = in_open & (np.abs(new_x) > HALLWAY_HALF_WIDTH)
        new_y = np.where(floor, np.maximum(new_y, 0.0), new_y)
        hallway = new_y < 0.0
        new_x = np.where(hallway, np.clip(new_x, -HALLWAY_HALF_WIDTH, HALLWAY_HALF_WIDTH), new_x)
        self._position = np.stack([new_x, new_y], axis=1)
        if self._paths is not None:
            for path, position in zip(self._paths, self._position, strict=True):
                path.append(position)
        distance = np.hypot(*(self._position - self._goals).T)
        reward = np.where(hallway, -1.0 + new_y, -distance)
        return StepResult(reward, np.zeros(len(reward), np.bool_))

    def observe(self) -> NDArray[np.float64]:
        """Positions [L, 2]."""
        return self._position

    def get_state(self, lane: int) -> NDArray[np.float64]:
        """The position [2]."""
        return np.array(self._position[lane])

    def set_state(self, lane: int, state: NDArray[np.float64]) -> None:
        """Place a lane's robot at ``state`` [2]."""
        self._position = self._position.copy()
        self._position[lane] = state
        self._begin_paths([lane])

    def render(self, lane: int) -> NDArray[np.uint8]:
        """The robot, its path and its goal from above [240, 320, 3]; needs ``keep_paths``."""
        if self._paths is None:
            return super().render(lane)
        return draw(np.asarray(self._paths[lane]), self._goals[lane], HALLWAY_HALF_WIDTH)

    def _begin_paths(self, lanes: Iterable[int]) -> None:
        if self._paths is not None:
            for lane in lanes:
                self._paths[lane] = [self._position[lane]]


class PointRobot(TaskFamily):
    """40 goals on the upper half circle; the reward is -distance outside the hallway, -1 + y inside."""

    name = "point-robot"
    benchmark = "point"
    summary = "a point leaves a hallway for a goal on the half circle; the goal varies"
    observation_size = 2
    action_size = 2
    horizon = 40
    behaviours = ("random", "scripted")
    units = MappingProxyType({"angle": "rad"})

    def list_tasks(self) -> Iterable[Task]:
        """Goals at the angles linspace(0, pi, 40)."""
        splits = splits_of(range(10, 30), [*range(5, 10), *range(30, 35)], [*range(5), *range(35, 40)])
        for index, angle in enumerate(np.linspace(0.0, np.pi, 40)):
            parameters: dict[str, float | tuple[float, ...]] = {
                "angle": float(angle),
                "goal": (float(RADIUS * np.cos(angle)), float(RADIUS * np.sin(angle))),
            }
            yield Task(index, splits[index], parameters)

    def make_simulator(
        self, tasks: Sequence[int], *, threads: int = 1, render_mode: str | None = None
    ) -> Simulator:
        """Pure NumPy: needs no simulator package."""
        goals = np.asarray([self.task(task).parameters["goal"] for task in tasks])
        return PointRobotSimulator(tasks, goals, keep_paths=render_mode is not None)

    def scripted_policy(self, task: int) -> ScriptedPolicy:
        """Up the middle of the hallway, then straight to the goal at full speed."""
        goal = np.asarray(self.task(task).parameters["goal"])

        def act(
            observation: NDArray[np.float32], privileged: NDArray[np.float64] | None
        ) -> NDArray[np.float64]:
            position = observation.astype(np.float64)
            hallway = position[:, 1:] < 0.0
            target = np.where(hallway, np.array([0.0, 1.0]), goal)
            delta = target - position
            # In the hallway each axis moves on its own; outside, the direction is kept at full speed.
            direct = delta / np.maximum(np.abs(delta).max(axis=1, keepdims=True), STEP)
            return np.asarray(np.where(hallway, np.clip(delta / STEP, -1.0, 1.0), direct))

        return act
