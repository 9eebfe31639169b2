"""Shared by the families on Gymnasium's MuJoCo environments (v5): models, initial states, split."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from clwm_data.families.base import splits_of
from clwm_data.families.simulation.mujoco_models import compile_model, package_file
from clwm_data.families.simulation.mujoco_simulator import MujocoSimulator
from clwm_data.families.simulation.rendering import Camera

BENCHMARK = "gymnasium-mujoco"
HORIZON = 200

#: Of 40 tasks along one parameter: every third of the inner 30 is unseen, both ends are out of distribution.
SPLIT_A = splits_of(
    train=[index for index in range(5, 35) if index % 3],
    in_distribution=range(6, 34, 3),
    ood=[*range(5), *range(35, 40)],
)


def load_model(file: str, *, family: str, render_mode: str | None) -> Any:
    """Compile one of the models that Gymnasium ships.

    Raises:
        MissingExtraError: Gymnasium or MuJoCo is not installed.
    """
    path = package_file("gymnasium", "envs", "mujoco", "assets", file, family=family)
    return compile_model(path, family=family, textures=render_mode is not None)


class GymnasiumMujocoSimulator(MujocoSimulator):
    """Lanes that begin and step as Gymnasium's ``MujocoEnv`` does: same seed, same initial state."""

    fields: ClassVar[tuple[str, ...]] = ("qpos", "qvel")
    camera: ClassVar[str | Camera] = "track"
    #: ``mj_step`` calls per agent step.
    frame_skip: ClassVar[int]
    #: Scale of the noise on qpos and qvel at a reset.
    noise_scale: ClassVar[float]
    #: The noise on qvel is normal; else uniform, as that on qpos always is.
    normal_velocity: ClassVar[bool]

    def __init__(self, tasks: Sequence[int], models: Sequence[Any], *, threads: int = 1) -> None:
        super().__init__(tasks, models, threads=threads)
        self._qpos = self._lanes.read("qpos")
        self._qvel = self._lanes.read("qvel")
        #: [L] seconds per agent step.
        self._dt = np.full(len(tasks), models[0].opt.timestep * self.frame_skip)

    def begin_episode(self, model: Any, data: Any, seed: int) -> None:
        """Reference pose plus noise, drawn as the environment's ``reset(seed=seed)`` draws it."""
        rng = np.random.default_rng(seed)
        scale = self.noise_scale
        data.qpos += rng.uniform(-scale, scale, model.nq)
        if self.normal_velocity:
            data.qvel += scale * rng.standard_normal(model.nv)
        else:
            data.qvel += rng.uniform(-scale, scale, model.nv)
        self._mujoco.mj_forward(model, data)

    def advance(self, action: NDArray[np.float64], active: NDArray[np.bool_]) -> None:
        """The physics of one agent step."""
        self._lanes.set_ctrl(action)
        self._lanes.step(self.frame_skip, active)


def squares(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sum of squares of each lane: [L, n] -> [L]."""
    result: NDArray[np.float64] = np.add.reduce(np.square(values), 1)
    return result
