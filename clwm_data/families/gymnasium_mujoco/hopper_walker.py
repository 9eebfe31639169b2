"""Hopper-v5 and Walker2d-v5 that hop and walk forwards with scaled masses or scaled friction."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
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
from clwm_data.families.simulation.rendering import import_mujoco
from clwm_data.families.simulation.simulator import Simulator, StepResult


class ForwardSimulator(GymnasiumMujocoSimulator):
    """Reward: forward velocity + 1 while healthy - 1e-3 sum a^2, as in Hopper-v5 and Walker2d-v5."""

    frame_skip = 4
    noise_scale = 5e-3
    normal_velocity = False
    #: While healthy, the torso's height (m) lies in this range, and its angle (rad) is below the bound.
    healthy_z: ClassVar[tuple[float, float]]
    healthy_angle: ClassVar[float]

    def __init__(self, tasks: Sequence[int], models: Sequence[Any], *, threads: int = 1) -> None:
        super().__init__(tasks, models, threads=threads)
        self._control_weight = np.full(len(tasks), 1e-3)
        self._fastest, self._backwards = (np.full_like(self._qvel, bound) for bound in (10.0, -10.0))
        self._velocity = np.zeros_like(self._qvel)
        self._observation = SideBySide(self._qpos[:, 1:], self._velocity)
        self._x, self._pose = self._qpos[:, 0], self._qpos[:, 1:3]
        self._lower = np.tile([self.healthy_z[0], -self.healthy_angle], (len(tasks), 1))
        self._upper = np.tile([self.healthy_z[1], self.healthy_angle], (len(tasks), 1))

    def step(self, action: NDArray[np.float64], active: NDArray[np.bool_]) -> StepResult:
        """Four physics steps of 0.002 s; ends when the body is no longer healthy."""
        before = self._x.copy()
        self.advance(action, active)
        velocity = (self._x - before) / self._dt
        healthy = self.healthy()
        reward = velocity + healthy - self._control_weight * squares(action)
        return StepResult(reward, ~healthy)

    def healthy(self) -> NDArray[np.bool_]:
        """[L]: the torso is in the healthy range of heights and leans less than the healthy angle."""
        inside = (self._pose > self._lower) & (self._pose < self._upper)
        healthy: NDArray[np.bool_] = inside[:, 0] & inside[:, 1]
        return healthy

    def observe(self) -> NDArray[np.float64]:
        """qpos without x, qvel clipped to [-10, 10]."""
        np.minimum(np.maximum(self._qvel, self._backwards), self._fastest, out=self._velocity)
        return self._observation.update()


class HopperSimulator(ForwardSimulator):
    """Healthy above 0.7 m, leaning less than 0.2 rad, with no angle or velocity beyond 100."""

    healthy_z = (0.7, np.inf)
    healthy_angle = 0.2

    def healthy(self) -> NDArray[np.bool_]:
        """[L]: see the class."""
        angles, velocities = np.abs(self._qpos[:, 2:]).max(axis=1), np.abs(self._qvel).max(axis=1)
        return np.asarray(super().healthy() & (np.maximum(angles, velocities) < 100.0))


class WalkerSimulator(ForwardSimulator):
    """Healthy between 0.8 and 2 m, leaning less than 1 rad."""

    healthy_z = (0.8, 2.0)
    healthy_angle = 1.0


class ScaledFamily(TaskFamily):
    """40 scales 1.5^linspace(-2, 2, 40) on ``mass`` (and inertia) or ``friction`` of the whole model."""

    benchmark = BENCHMARK
    horizon = HORIZON
    step_seconds = 0.008
    dynamics_vary = True
    file: ClassVar[str]
    simulator: ClassVar[type[ForwardSimulator]]
    scaled: ClassVar[str]

    def list_tasks(self) -> Iterable[Task]:
        """Scales in ascending order."""
        for index, scale in enumerate(1.5 ** np.linspace(-2.0, 2.0, 40)):
            yield Task(index, SPLIT_A[index], {f"{self.scaled}_scale": float(scale)})

    def make_simulator(
        self, tasks: Sequence[int], *, threads: int = 1, render_mode: str | None = None
    ) -> Simulator:
        """One model for each task."""
        base = load_model(self.file, family=self.name, render_mode=render_mode)
        scales = {task: self.task(task).number(f"{self.scaled}_scale") for task in tasks}
        models = {task: scaled_model(base, self.scaled, scale) for task, scale in scales.items()}
        return self.simulator(tasks, [models[task] for task in tasks], threads=threads)


def scaled_model(base: Any, scaled: str, scale: float) -> Any:
    """A copy of an ``MjModel`` with all masses and inertias, or all friction coefficients, scaled.

    Constants that MuJoCo derives from masses (inverse inertia at the joints, subtree masses) are recomputed,
    as if the model had been compiled with the scaled values.
    """
    model = copy.copy(base)
    if scaled == "mass":
        mujoco = import_mujoco("simulating MuJoCo models")
        model.body_mass *= scale
        model.body_inertia *= scale
        mujoco.mj_setConst(model, mujoco.MjData(model))
    else:
        model.geom_friction *= scale
    return model


class HopperFamily(ScaledFamily):
    """Hopper-v5."""

    observation_size = 11
    action_size = 3
    file = "hopper.xml"
    simulator = HopperSimulator


class WalkerFamily(ScaledFamily):
    """Walker2d-v5."""

    observation_size = 17
    action_size = 6
    file = "walker2d_v5.xml"
    simulator = WalkerSimulator


class HopperMass(HopperFamily):
    """Masses and inertias vary."""

    name = "hopper-mass"
    summary = "Hopper hops forwards; masses and inertias vary"
    scaled = "mass"


class HopperFriction(HopperFamily):
    """Friction varies."""

    name = "hopper-friction"
    summary = "Hopper hops forwards; friction varies"
    scaled = "friction"


class WalkerMass(WalkerFamily):
    """Masses and inertias vary."""

    name = "walker-mass"
    summary = "Walker2d walks forwards; masses and inertias vary"
    scaled = "mass"


class WalkerFriction(WalkerFamily):
    """Friction varies."""

    name = "walker-friction"
    summary = "Walker2d walks forwards; friction varies"
    scaled = "friction"
