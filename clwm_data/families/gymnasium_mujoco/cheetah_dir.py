"""HalfCheetah-v5 running forwards or backwards."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from clwm_data.families.base import Task
from clwm_data.families.gymnasium_mujoco.cheetah_vel import CheetahFamily, CheetahVelSimulator


class CheetahDirSimulator(CheetahVelSimulator):
    """Reward: direction * v - 0.05 sum a^2."""

    def step_reward(self, targets: NDArray[np.float64]) -> NDArray[np.float64]:
        """See the class; targets are directions, 1 or -1."""
        reward: NDArray[np.float64] = self._control_reward + self._velocity * targets
        return reward


class CheetahDir(CheetahFamily):
    """Two tasks, both for training: backwards and forwards.

    Reward as in PEARL's and Meta-DT's code (Rakelly et al. 2019; Wang et al. 2024).
    """

    name = "cheetah-dir"
    summary = "HalfCheetah runs forwards or backwards; the direction varies"
    simulator = CheetahDirSimulator
    target = "direction"

    def list_tasks(self) -> Iterable[Task]:
        """-1 and 1."""
        yield Task(0, "train", {"direction": -1.0})
        yield Task(1, "train", {"direction": 1.0})
