"""HalfCheetah-v5 that has to run at a given velocity, with a reward only when it nearly does."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from clwm_data.families.gymnasium_mujoco.cheetah_vel import CheetahVel, CheetahVelSimulator
from clwm_data.families.simulation.simulator import StepResult

TOLERANCE = 0.5  # m/s


class CheetahVelSparseSimulator(CheetahVelSimulator):
    """Reward: (1 - abs(v - target) within the tolerance, else 0) - 0.05 sum a^2; dense: cheetah-vel's."""

    def step(self, action: NDArray[np.float64], active: NDArray[np.bool_]) -> StepResult:
        """As cheetah-vel's; within the tolerance counts as success."""
        result = super().step(action, active)
        result.success = np.abs(self._velocity - self._targets) <= TOLERANCE
        result.dense_reward = super().earned(self._targets)
        return result

    def earned(self, targets: NDArray[np.float64]) -> NDArray[np.float64]:
        """See the class."""
        away = np.abs(self._velocity - targets)
        reward: NDArray[np.float64] = self._control_reward + np.where(away <= TOLERANCE, 1.0 - away, 0.0)
        return reward


class CheetahVelSparse(CheetahVel):
    """Tasks and split of cheetah-vel, whose trained policies serve here, too.

    The form of the reward is that of PEARL's sparse point robot (1 minus the distance, inside a radius).
    Papers that use such a family publish no tolerance that we found: 0.5 m/s is ours.
    """

    name = "cheetah-vel-sparse"
    summary = "HalfCheetah runs at a target velocity, with a reward near it alone; the velocity varies"
    simulator = CheetahVelSparseSimulator
    has_success = True
    has_dense_reward = True
    policies_of = "cheetah-vel"
