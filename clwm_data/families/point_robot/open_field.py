"""A point on an open field: sparse rewards around a goal, or a wind that carries it away."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from clwm_data.families.base import Parameters, ScriptedPolicy, Task, TaskFamily, splits_of
from clwm_data.families.point_robot.drawing import draw
from clwm_data.families.simulation.simulator import Simulator, StepResult

STEP = 0.1  # displacement per unit of action
RADIUS = 1.0  # of the circle that goals lie on


class OpenFieldSimulator(Simulator):
    """State and observation are the position (x, y), which begins at the origin.

    A step leads to position + 0.1 action + wind. The dense reward is -distance to the goal; the reward is 0
    except near the goal.

    Args:
        tasks: task index of each lane.
        goals: [L, 2].
        winds: [L, 2] displacement per step.
        radius: radius around the goal within which there is a reward and a step counts as success.
        distance_weight: the reward there is 1 - ``distance_weight`` * distance.
        keep_paths: remember the positions of an episode, for pictures.
    """

    def __init__(
        self,
        tasks: Sequence[int],
        goals: NDArray[np.float64],
        winds: NDArray[np.float64],
        *,
        radius: float,
        distance_weight: float,
        keep_paths: bool = False,
    ) -> None:
        self.tasks = np.asarray(tasks, np.int64)
        self._goals, self._winds = goals, winds
        self._radius, self._distance_weight = radius, distance_weight
        self._position = np.zeros((len(tasks), 2))
        self._paths = [[position] for position in self._position] if keep_paths else None

    def reset(self, lanes: NDArray[np.int64], seeds: Sequence[int]) -> None:
        """Every episode starts at the origin: the seeds are not used."""
        for lane in lanes.tolist():
            self.set_state(lane, np.zeros(2))

    def step(self, action: NDArray[np.float64], active: NDArray[np.bool_]) -> StepResult:
        """See the class; rewards belong to the new position."""
        self._position = self._position + STEP * action + self._winds
        if self._paths is not None:
            for path, position in zip(self._paths, self._position, strict=True):
                path.append(position)
        distance = np.hypot(*(self._position - self._goals).T)
        near = distance <= self._radius
        return StepResult(
            reward=np.where(near, 1.0 - self._distance_weight * distance, 0.0),
            terminated=np.zeros(len(near), np.bool_),
            success=near,
            dense_reward=-distance,
        )

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
        if self._paths is not None:
            self._paths[lane] = [self._position[lane]]

    def render(self, lane: int) -> NDArray[np.uint8]:
        """The robot, its path and its goal from above [240, 320, 3]; needs ``keep_paths``."""
        if self._paths is None:
            return super().render(lane)
        return draw(np.asarray(self._paths[lane]), self._goals[lane], hallway_half_width=None)


class OpenFieldFamily(TaskFamily):
    """Base of point-robot-sparse and point-robot-wind."""

    benchmark = "point"
    observation_size = 2
    action_size = 2
    has_success = True
    has_dense_reward = True
    behaviours = ("random", "scripted")
    radius: ClassVar[float]
    distance_weight: ClassVar[float]

    @abstractmethod
    def goal(self, task: Task) -> NDArray[np.float64]:
        """The goal [2]."""

    @abstractmethod
    def wind(self, task: Task) -> NDArray[np.float64]:
        """The wind [2]."""

    def make_simulator(
        self, tasks: Sequence[int], *, threads: int = 1, render_mode: str | None = None
    ) -> Simulator:
        """Pure NumPy: needs no simulator package."""
        chosen = [self.task(task) for task in tasks]
        return OpenFieldSimulator(
            tasks,
            np.asarray([self.goal(task) for task in chosen]),
            np.asarray([self.wind(task) for task in chosen]),
            radius=self.radius,
            distance_weight=self.distance_weight,
            keep_paths=render_mode is not None,
        )

    def scripted_policy(self, task: int) -> ScriptedPolicy:
        """Straight to the goal, against the wind."""
        known = self.task(task)
        goal, wind = self.goal(known), self.wind(known)

        def act(
            observation: NDArray[np.float32], privileged: NDArray[np.float64] | None
        ) -> NDArray[np.float64]:
            direction = (goal - observation.astype(np.float64) - wind) / STEP
            # Farther than one step: move in that direction at full speed.
            return np.asarray(direction / np.maximum(np.abs(direction).max(axis=1, keepdims=True), 1.0))

        return act


class PointRobotSparse(OpenFieldFamily):
    """40 goals on the upper half circle, angles linspace(0, pi, 40); a reward only within 0.2 of the goal.

    Start, step, radius, reward (1 - distance inside, else 0) and the 20 steps are those of PEARL's sparse
    point robot (Rakelly et al. 2019); FOCAL's code (Li et al. 2021) divides the distance by the radius.
    """

    name = "point-robot-sparse"
    summary = "a point looks for a goal on the half circle, with a reward near it alone; the goal varies"
    horizon = 20
    radius = 0.2
    distance_weight = 1.0

    def list_tasks(self) -> Iterable[Task]:
        """Every third of the inner 30 goals is held out as id, the outer 10 as ood."""
        splits = splits_of(
            [index for index in range(5, 35) if index % 3], range(6, 34, 3), [*range(5), *range(35, 40)]
        )
        for index, angle in enumerate(np.linspace(0.0, np.pi, 40)):
            goal = (float(RADIUS * np.cos(angle)), float(RADIUS * np.sin(angle)))
            yield Task(index, splits[index], {"angle": float(angle), "goal": goal})

    def goal(self, task: Task) -> NDArray[np.float64]:
        """On the half circle."""
        return np.asarray(task.parameters["goal"])

    def wind(self, task: Task) -> NDArray[np.float64]:
        """None."""
        return np.zeros(2)

    def conditioning_parameters(self, task: Task) -> Parameters:
        """The goal."""
        return {"goal": task.parameters["goal"]}


class PointRobotWind(OpenFieldFamily):
    """50 winds, drawn uniformly from [-0.08, 0.08]^2; a reward of 1 only within 0.03 of the goal (0, 1).

    The constants are those of BOReL's wind environment (Dorfman et al. 2021) in pomdp-baselines (Ni et al.
    2022).
    """

    name = "point-robot-wind"
    summary = "a point looks for a fixed goal, with a reward at it alone; the wind varies"
    horizon = 75
    dynamics_vary = True
    radius = 0.03
    distance_weight = 0.0
    strongest: ClassVar[float] = 0.08
    seed: ClassVar[int] = 1337

    def list_tasks(self) -> Iterable[Task]:
        """The last 10 winds are held out as id; there are no ood tasks."""
        splits = splits_of(range(40), range(40, 50), ())
        winds = np.random.default_rng(self.seed).uniform(-self.strongest, self.strongest, (50, 2))
        for index, (x, y) in enumerate(winds.tolist()):
            yield Task(index, splits[index], {"wind": (x, y)})

    def goal(self, task: Task) -> NDArray[np.float64]:
        """Always (0, 1)."""
        return np.array([0.0, 1.0])

    def wind(self, task: Task) -> NDArray[np.float64]:
        """Displacement per step."""
        return np.asarray(task.parameters["wind"])
