"""Ant-v5 walking in a given direction (ant-dir) or to a given place (ant-goal)."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clwm_data.families.base import Parameters, Task, TaskFamily, splits_of
from clwm_data.families.gymnasium_mujoco.ant_symmetry import mirrored, turned, turns_and_mirrors
from clwm_data.families.gymnasium_mujoco.base import (
    BENCHMARK,
    HORIZON,
    SPLIT_A,
    GymnasiumMujocoSimulator,
    load_model,
    squares,
)
from clwm_data.families.simulation.mujoco_simulator import SideBySide
from clwm_data.families.simulation.rendering import Camera, Marker
from clwm_data.families.simulation.simulator import Simulator, StepResult
from clwm_data.families.symmetry import SignedPermutation, Symmetry

TORSO = 1  # body
HEALTHY_HEIGHT = (0.2, 1.0)  # m


class AntSimulator(GymnasiumMujocoSimulator):
    """The part of the simulation that ant-dir and ant-goal share.

    Args:
        targets: [L, 2] unit vector of the direction, or place of the goal in m.
    """

    fields = ("qpos", "qvel", "xpos", "cfrc_ext")
    body_forces = True
    frame_skip = 5
    noise_scale = 0.1
    normal_velocity = True

    def __init__(
        self, tasks: Sequence[int], model: Any, targets: NDArray[np.float64], *, threads: int = 1
    ) -> None:
        super().__init__(tasks, [model] * len(tasks), threads=threads)
        self._targets = targets
        self._forces = self._lanes.read("cfrc_ext").reshape(len(tasks), -1)  # a view
        self._force_bound = np.ones_like(self._forces)
        self._contact_weight = np.full(len(tasks), 0.5e-3)

    @abstractmethod
    def step_reward(self, targets: NDArray[np.float64]) -> NDArray[np.float64]:
        """Reward of the last step of each lane [..., L] with ``targets`` [..., L or 1, 2]."""

    def rewards_across(self) -> NDArray[np.float64]:
        """See :meth:`clwm_data.families.simulation.simulator.Simulator.rewards_across`."""
        return self.step_reward(self._targets[:, None]).T

    def contact_cost(self) -> NDArray[np.float64]:
        """0.5e-3 sum clip(f, -1, 1)^2 over the external forces and torques on all bodies: [L]."""
        clipped = np.minimum(np.maximum(self._forces, -self._force_bound), self._force_bound)
        return self._contact_weight * squares(clipped)


class AntDirSimulator(AntSimulator):
    """Reward: velocity along the direction + 1 while healthy - 0.5 sum a^2 - contact cost.

    The torso's position is Ant-v5's ``xpos``, which lags the state by a fraction of a physics step, so that
    the reward along the x axis equals Ant-v5's; the previous position is carried from step to step.
    """

    def __init__(
        self, tasks: Sequence[int], model: Any, targets: NDArray[np.float64], *, threads: int = 1
    ) -> None:
        super().__init__(tasks, model, targets, threads=threads)
        self._torso = self._lanes.read("xpos")[:, TORSO, :2]
        self._height = self._qpos[:, 2]
        self._lowest, self._highest = (np.full(len(tasks), bound) for bound in HEALTHY_HEIGHT)
        self._control_weight = np.full(len(tasks), 0.5)
        self._torso_velocity = np.zeros((len(tasks), 2))
        self._healthy = np.ones(len(tasks), np.bool_)
        self._costs = np.zeros(len(tasks))
        self._observation = SideBySide(self._qpos[:, 2:], self._qvel)

    def carry(self, model: Any, data: Any) -> NDArray[np.float64]:
        """Position of the torso [2]."""
        return np.array(data.xpos[TORSO, :2])

    def step(self, action: NDArray[np.float64], active: NDArray[np.bool_]) -> StepResult:
        """Five physics steps of 0.01 s; ends when the torso leaves the healthy heights."""
        before = self._carried
        self.advance(action, active)
        self._carried = np.where(active[:, None], self._torso, before)
        self._torso_velocity = (self._carried - before) / self._dt[:, None]
        self._healthy = (self._height >= self._lowest) & (self._height <= self._highest)
        self._costs = self._control_weight * squares(action) + self.contact_cost()
        return StepResult(self.step_reward(self._targets), ~self._healthy)

    def step_reward(self, targets: NDArray[np.float64]) -> NDArray[np.float64]:
        """See the class; targets are directions."""
        along = self._torso_velocity * targets
        reward: NDArray[np.float64] = along[..., 0] + along[..., 1] + self._healthy - self._costs
        return reward

    def observe(self) -> NDArray[np.float64]:
        """qpos without x and y, qvel: [L, 27]."""
        return self._observation.update()


class AntGoalSimulator(AntSimulator):
    """Reward: -L1 distance from the torso to the goal - 0.1 sum a^2 - contact cost."""

    camera = Camera(target=(0.3, 0.0, 0.0), distance=8.0, elevation=-50.0)  # all goals lie around x = 0.8

    def __init__(
        self, tasks: Sequence[int], model: Any, targets: NDArray[np.float64], *, threads: int = 1
    ) -> None:
        super().__init__(tasks, model, targets, threads=threads)
        self._control_cost = np.zeros(len(tasks))

    def step(self, action: NDArray[np.float64], active: NDArray[np.bool_]) -> StepResult:
        """Five physics steps of 0.01 s; never ends."""
        self.advance(action, active)
        self._control_cost = 0.1 * squares(action)
        return StepResult(self.step_reward(self._targets), self._never)

    def step_reward(self, targets: NDArray[np.float64]) -> NDArray[np.float64]:
        """See the class; targets are goals."""
        offset = np.abs(self._qpos[:, :2] - targets)
        reward: NDArray[np.float64] = (
            -(offset[..., 0] + offset[..., 1]) - self._control_cost - self.contact_cost()
        )
        return reward

    def observe(self) -> NDArray[np.float64]:
        """qpos, qvel: [L, 29]."""
        return np.concatenate([self._qpos, self._qvel], axis=1)

    def markers(self, lane: int) -> Sequence[Marker]:
        """The goal."""
        x, y = self._targets[lane].tolist()
        return [Marker((x, y, 0.1), 0.15)]


class AntFamily(TaskFamily):
    """Base of ant-dir and ant-goal."""

    benchmark = BENCHMARK
    action_size = 8
    horizon = HORIZON
    step_seconds = 0.05
    simulator: type[AntSimulator]

    def make_simulator(
        self, tasks: Sequence[int], *, threads: int = 1, render_mode: str | None = None
    ) -> Simulator:
        """One model for all lanes."""
        model = load_model("ant.xml", family=self.name, render_mode=render_mode)
        targets = np.asarray([self.target(self.task(task)) for task in tasks])
        return self.simulator(tasks, model, targets, threads=threads)

    @abstractmethod
    def target(self, task: Task) -> Any:
        """The two numbers of the task that the reward needs, see :class:`AntSimulator`."""


class AntDir(AntFamily):
    """40 directions linspace(0, 2 pi, 41)[:-1] in rad, counter-clockwise from the x axis."""

    name = "ant-dir"
    summary = "Ant walks in a target direction; the direction varies"
    units = MappingProxyType({"direction": "rad"})
    observation_size = 27
    simulator = AntDirSimulator

    def list_tasks(self) -> Iterable[Task]:
        """Directions in ascending order."""
        for index, direction in enumerate(np.linspace(0.0, 2.0 * np.pi, 41)[:-1]):
            yield Task(index, SPLIT_A[index], {"direction": float(direction)})

    def target(self, task: Task) -> Any:
        """Unit vector of the direction."""
        direction = task.number("direction")
        return np.cos(direction), np.sin(direction)

    def conditioning_parameters(self, task: Task) -> Parameters:
        """The unit vector, since the angle itself jumps between the last task and the first."""
        cosine, sine = self.target(task)
        return {"cosine": float(cosine), "sine": float(sine)}

    @cached_property
    def symmetries(self) -> tuple[Symmetry, ...]:
        """Turns by 90, 180 and 270 degrees, and their combinations with a mirror."""
        size = self.observation_size
        turn = turned(size, SignedPermutation(index=(1, 0), sign=(-1, 1)))
        return turns_and_mirrors(turn, mirrored(size, SignedPermutation(index=(0, 1), sign=(1, -1))))


class AntGoal(AntFamily):
    """Goals on half circles: radius 0.8 and 1.2 (train), 1.0 (id), 1.6 m (ood), 10 angles each."""

    name = "ant-goal"
    summary = "Ant walks to a goal; the goal varies"
    units = MappingProxyType({"radius": "m", "angle": "rad", "goal": "m"})
    observation_size = 29
    simulator = AntGoalSimulator

    def list_tasks(self) -> Iterable[Task]:
        """Angles linspace(-pi/2, pi/2, 10) within each radius."""
        splits = splits_of(range(20), range(20, 30), range(30, 40))
        angles = np.linspace(-np.pi / 2.0, np.pi / 2.0, 10)
        goals = [(radius, float(angle)) for radius in (0.8, 1.2, 1.0, 1.6) for angle in angles]
        for index, (radius, angle) in enumerate(goals):
            goal = (radius * float(np.cos(angle)), radius * float(np.sin(angle)))
            yield Task(index, splits[index], {"radius": radius, "angle": angle, "goal": goal})

    def target(self, task: Task) -> Any:
        """The goal."""
        return task.parameters["goal"]

    @cached_property
    def symmetries(self) -> tuple[Symmetry, ...]:
        """The mirror alone: a turn would move most goals to places where there is none."""
        radius_angle_x_y = SignedPermutation(index=(0, 1, 2, 3), sign=(1, -1, 1, -1))
        return (mirrored(self.observation_size, radius_angle_x_y),)
