"""HalfCheetah-v5 running at a given velocity."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from clwm_data.families.base import Task, TaskFamily
from clwm_data.families.gymnasium_mujoco.base import (
    BENCHMARK,
    HORIZON,
    SPLIT_A,
    GymnasiumMujocoSimulator,
    load_model,
    squares,
)
from clwm_data.families.simulation.mujoco_simulator import SideBySide
from clwm_data.families.simulation.simulator import Simulator, StepResult

TORSO_HEIGHT = 0.7  # m, of the torso's frame where qpos is zero (half_cheetah.xml)
TORSO_X = 17  # entry of an observation
STEP_SECONDS = 0.05


class CheetahVelSimulator(GymnasiumMujocoSimulator):
    """Reward: -abs(v - target) - 0.05 sum a^2, v the root's mean velocity over the step."""

    frame_skip = 5
    noise_scale = 0.1
    normal_velocity = True

    def __init__(
        self, tasks: Sequence[int], model: Any, targets: NDArray[np.float64], *, threads: int = 1
    ) -> None:
        super().__init__(tasks, [model] * len(tasks), threads=threads)
        self._targets = targets
        self._control_weight = np.full(len(tasks), -0.05)
        self._velocity, self._control_reward = np.zeros((2, len(tasks)))
        self._height = np.full(len(tasks), TORSO_HEIGHT)
        self._x, self._z = self._qpos[:, 0], self._qpos[:, 1]
        height = np.zeros((len(tasks), 1))
        self._torso_z = height[:, 0]
        self._observation = SideBySide(
            self._qpos[:, 1:], self._qvel, self._qpos[:, :1], np.zeros_like(height), height
        )

    def step(self, action: NDArray[np.float64], active: NDArray[np.bool_]) -> StepResult:
        """Five physics steps of 0.01 s."""
        before = self._x.copy()
        self.advance(action, active)
        self._velocity = (self._x - before) / self._dt
        self._control_reward = self._control_weight * squares(action)
        return StepResult(self.step_reward(self._targets), self._never)

    def step_reward(self, targets: NDArray[np.float64]) -> NDArray[np.float64]:
        """Reward of the last step of each lane [..., L] with target velocities [..., L or 1]."""
        reward: NDArray[np.float64] = self._control_reward - np.abs(self._velocity - targets)
        return reward

    def rewards_across(self) -> NDArray[np.float64] | None:
        """See :meth:`clwm_data.families.simulation.simulator.Simulator.rewards_across`."""
        return self.step_reward(self._targets[:, None]).T

    def observe(self) -> NDArray[np.float64]:
        """qpos without x, qvel, position of the torso: [L, 20].

        The torso's frame sits on the two root slides, so its position follows from qpos exactly (MuJoCo's
        ``xpos`` would be one physics step behind).
        """
        np.add(self._z, self._height, out=self._torso_z)
        return self._observation.update()


class CheetahFamily(TaskFamily):
    """Base of the families of HalfCheetah."""

    benchmark = BENCHMARK
    observation_size = 20
    action_size = 6
    horizon = HORIZON
    step_seconds = STEP_SECONDS
    simulator: ClassVar[type[CheetahVelSimulator]] = CheetahVelSimulator
    #: The parameter that the reward needs.
    target: ClassVar[str] = "velocity"

    def make_simulator(
        self, tasks: Sequence[int], *, threads: int = 1, render_mode: str | None = None
    ) -> Simulator:
        """One model for all lanes."""
        model = load_model("half_cheetah.xml", family=self.name, render_mode=render_mode)
        targets = np.asarray([self.task(task).number(self.target) for task in tasks])
        return self.simulator(tasks, model, targets, threads=threads)


class CheetahVel(CheetahFamily):
    """40 target velocities linspace(0.1, 4, 40) in m/s."""

    name = "cheetah-vel"
    summary = "HalfCheetah runs at a target velocity; the velocity varies"
    units = MappingProxyType({"velocity": "m/s"})
    tracked = "velocity"

    def list_tasks(self) -> Iterable[Task]:
        """Velocities in ascending order."""
        for index, velocity in enumerate(np.linspace(0.1, 4.0, 40)):
            yield Task(index, SPLIT_A[index], {"velocity": float(velocity)})

    def reached(self, observations: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """Mean velocity of the torso [...] in m/s, of episodes [..., T + 1, 20]."""
        x = np.asarray(observations[..., TORSO_X], np.float64)
        return np.asarray((x[..., -1] - x[..., 0]) / (STEP_SECONDS * (x.shape[-1] - 1)))
