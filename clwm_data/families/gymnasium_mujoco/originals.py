"""Gymnasium's own MuJoCo environments, many episodes at once: the same bits as its environments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clwm_data.families.gymnasium_mujoco.base import GymnasiumMujocoSimulator, squares
from clwm_data.families.gymnasium_mujoco.hopper_walker import (
    ForwardSimulator,
    HopperSimulator,
    WalkerSimulator,
)
from clwm_data.families.simulation.mujoco_simulator import SideBySide
from clwm_data.families.simulation.simulator import StepResult


def control_cost(weight: float, action: NDArray[np.float64]) -> NDArray[np.float64]:
    """[L], computed in single precision, as from the actions that Gymnasium's environments are given."""
    return np.asarray(np.float32(weight) * squares(action.astype(np.float32)), np.float64)


class _OriginalForward(ForwardSimulator):
    def step(self, action: NDArray[np.float64], active: NDArray[np.bool_]) -> StepResult:
        """See :class:`ForwardSimulator`."""
        before = self._x.copy()
        self.advance(action, active)
        healthy = self.healthy()
        reward = (self._x - before) / self._dt + healthy - control_cost(1e-3, action)
        return StepResult(reward, ~healthy)


class OriginalHopper(_OriginalForward, HopperSimulator):
    """Hopper-v5."""


class OriginalWalker(_OriginalForward, WalkerSimulator):
    """Walker2d-v5."""


class OriginalHalfCheetah(GymnasiumMujocoSimulator):
    """HalfCheetah-v5. Reward: forward velocity - 0.1 sum a^2."""

    frame_skip = 5
    noise_scale = 0.1
    normal_velocity = True

    def __init__(self, tasks: Sequence[int], models: Sequence[Any], *, threads: int = 1) -> None:
        super().__init__(tasks, models, threads=threads)
        self._x = self._qpos[:, 0]
        self._observation = SideBySide(self._qpos[:, 1:], self._qvel)

    def step(self, action: NDArray[np.float64], active: NDArray[np.bool_]) -> StepResult:
        """Five physics steps of 0.01 s."""
        before = self._x.copy()
        self.advance(action, active)
        return StepResult((self._x - before) / self._dt - control_cost(0.1, action), self._never)

    def observe(self) -> NDArray[np.float64]:
        """qpos without x, qvel [L, 17]."""
        return self._observation.update()


#: Id of an environment -> the file of its model, and its simulator.
ORIGINALS: dict[str, tuple[str, type[OriginalHopper | OriginalWalker | OriginalHalfCheetah]]] = {
    "Hopper-v5": ("hopper.xml", OriginalHopper),
    "Walker2d-v5": ("walker2d_v5.xml", OriginalWalker),
    "HalfCheetah-v5": ("half_cheetah.xml", OriginalHalfCheetah),
}
