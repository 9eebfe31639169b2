"""Hopper-v5 and Walker2d-v5 with independently drawn masses, inertias, damping and friction coefficients.

The recipe is that of rand_param_envs, which PEARL, FOCAL and Meta-DT use: the mass of each body, the inertia
about each of its axes and each friction coefficient of each geom are multiplied by 1.5^u, the damping of each
degree of freedom by 1.3^u, with u uniform in [-3, 3].
"""

from __future__ import annotations

import copy
import zlib
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import numpy as np

from clwm_data.families.base import Parameters, Task, TaskFamily, splits_of
from clwm_data.families.gymnasium_mujoco.base import BENCHMARK, HORIZON, load_model
from clwm_data.families.gymnasium_mujoco.hopper_walker import (
    ForwardSimulator,
    HopperSimulator,
    WalkerSimulator,
)
from clwm_data.families.simulation.rendering import import_mujoco
from clwm_data.families.simulation.simulator import Simulator

LIMIT = 3.0
BASE, DAMPING_BASE = 1.5, 1.3
TRAIN, HELD_OUT = 40, 10


class RandomParametersFamily(TaskFamily):
    """40 train and 10 id tasks, drawn from one distribution; there are no ood tasks."""

    benchmark = BENCHMARK
    horizon = HORIZON
    step_seconds = 0.008
    dynamics_vary = True
    file: ClassVar[str]
    simulator: ClassVar[type[ForwardSimulator]]
    #: Of the model, without the world; listed here so that tasks can be listed without MuJoCo.
    bodies: ClassVar[int]
    joints: ClassVar[int]
    geoms: ClassVar[int]

    def list_tasks(self) -> Iterable[Task]:
        """Tasks with their factors, listed body by body and geom by geom."""
        splits = splits_of(range(TRAIN), range(TRAIN, TRAIN + HELD_OUT), ())
        return (Task(index, splits[index], self.factors(index)) for index in range(TRAIN + HELD_OUT))

    def factors(self, index: int) -> Parameters:
        """Factors on the model's constants; their seed derives from the family's name and the index."""
        generator = np.random.default_rng([zlib.crc32(self.name.encode()), index])

        def draw(base: float, count: int) -> tuple[float, ...]:
            return tuple(float(factor) for factor in base ** generator.uniform(-LIMIT, LIMIT, count))

        return {
            "mass": draw(BASE, self.bodies),
            "inertia": draw(BASE, 3 * self.bodies),
            "damping": draw(DAMPING_BASE, self.joints),
            "friction": draw(BASE, 3 * self.geoms),
        }

    def make_simulator(
        self, tasks: Sequence[int], *, threads: int = 1, render_mode: str | None = None
    ) -> Simulator:
        """One model for each task."""
        base = load_model(self.file, family=self.name, render_mode=render_mode)
        models = {task: changed_model(base, self.task(task).parameters) for task in set(tasks)}
        return self.simulator(tasks, [models[task] for task in tasks], threads=threads)


def changed_model(base: Any, factors: Parameters) -> Any:
    """A copy of an ``MjModel`` with a task's factors applied; constants that derive from masses follow."""
    mujoco = import_mujoco("simulating MuJoCo models")
    model = copy.copy(base)
    model.body_mass[1:] *= factors["mass"]
    model.body_inertia[1:] *= np.reshape(factors["inertia"], (-1, 3))
    model.dof_damping[:] *= factors["damping"]
    model.geom_friction[:] *= np.reshape(factors["friction"], (-1, 3))
    mujoco.mj_setConst(model, mujoco.MjData(model))
    return model


class HopperParam(RandomParametersFamily):
    """Hopper-v5."""

    name = "hopper-param"
    summary = "Hopper hops forwards; masses, inertias, damping and friction vary"
    observation_size = 11
    action_size = 3
    file = "hopper.xml"
    simulator = HopperSimulator
    bodies, joints, geoms = 4, 6, 5


class WalkerParam(RandomParametersFamily):
    """Walker2d-v5."""

    name = "walker-param"
    summary = "Walker2d walks forwards; masses, inertias, damping and friction vary"
    observation_size = 17
    action_size = 6
    file = "walker2d_v5.xml"
    simulator = WalkerSimulator
    bodies, joints, geoms = 7, 9, 8
