"""What the families on Gymnasium's MuJoCo environments (v5) share: models, initial states, split."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clwm_data.extras import require
from clwm_data.families.base import splits_of
from clwm_data.families.mujoco_simulator import MujocoSimulator

BENCHMARK = "gymnasium-mujoco"

#: Of 40 tasks along one parameter: every third of the inner 30 is unseen, both ends are out of distribution.
SPLIT_A = splits_of(
    train=[index for index in range(5, 35) if index % 3],
    in_distribution=range(6, 34, 3),
    ood=[*range(5), *range(35, 40)],
)


def load_model(file: str, family: str) -> Any:
    """Compile one of the models that Gymnasium ships.

    Raises:
        MissingExtraError: Gymnasium or MuJoCo is not installed.
    """
    purpose = f"simulating {family}"
    # The assets' place is known without importing the environments, which would load OpenGL.
    gymnasium = require("gymnasium", "sim", purpose)
    assets = Path(str(gymnasium.__file__)).parent / "envs" / "mujoco" / "assets"
    return require("mujoco", "sim", purpose).MjModel.from_xml_path(str(assets / file))


class GymnasiumMujocoSimulator(MujocoSimulator):
    """Lanes that begin and step as Gymnasium's ``MujocoEnv`` does: same seed, same initial state."""

    camera = "track"
    #: ``mj_step`` calls per agent step.
    frame_skip: int
    #: Half-width (qpos) and standard deviation or half-width (qvel) of the noise at a reset.
    noise_scale: float
    #: Velocities at a reset are normal; else uniform.
    normal_velocity = True

    def __init__(self, tasks: Sequence[int], models: Sequence[Any], *, threads: int = 1) -> None:
        super().__init__(tasks, models, threads=threads)
        self.dt = float(models[0].opt.timestep) * self.frame_skip

    def begin_episode(self, model: Any, data: Any, seed: int) -> None:
        """Reference pose plus noise, drawn as ``reset(seed=seed)`` of the environment draws it."""
        rng = np.random.default_rng(seed)
        scale = self.noise_scale
        data.qpos += rng.uniform(-scale, scale, model.nq)
        if self.normal_velocity:
            data.qvel += scale * rng.standard_normal(model.nv)
        else:
            data.qvel += rng.uniform(-scale, scale, model.nv)
        self._mujoco.mj_forward(model, data)


def control_cost(weight: float, action: NDArray[np.float64]) -> NDArray[np.float64]:
    """``weight * sum(action^2)`` of each lane [L]."""
    return np.asarray(weight * np.square(action).sum(axis=1))
