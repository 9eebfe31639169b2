"""HalfCheetah-v5 running at a given velocity, with a reward only near it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from clwm_data.families.gymnasium_mujoco.cheetah_vel import CheetahVel, CheetahVelSimulator
from clwm_data.families.simulation.simulator import StepResult

TOLERANCE = 0.5  # m/s


class CheetahVelSparseSimulator(CheetahVelSimulator):
    """Reward: (1 - abs(v - target) within the tolerance, else 0) - 0.05 sum a^2; dense: cheetah-vel's."""

    def step(self, action: NDArray[np.float64], active: NDArray[np.bool_]) -> StepResult:
        """A step of cheetah-vel; it succeeds if the velocity is within the tolerance."""
        result = super().step(action, active)
        result.success = np.abs(self._velocity - self._targets) <= TOLERANCE
        result.dense_reward = super().step_reward(self._targets)
        return result

    def step_reward(self, targets: NDArray[np.float64]) -> NDArray[np.float64]:
        """See the class."""
        away = np.abs(self._velocity - targets)
        reward: NDArray[np.float64] = self._control_reward + np.where(away <= TOLERANCE, 1.0 - away, 0.0)
        return reward


class CheetahVelSparse(CheetahVel):
    """Tasks, split and trained policies are those of cheetah-vel.

    The form of the reward is that of PEARL's sparse point robot (1 minus the distance, inside a radius).
    We found no published tolerance for such a family: 0.5 m/s is our choice.
    """

    name = "cheetah-vel-sparse"
    summary = "HalfCheetah runs at a target velocity, with a reward near it alone; the velocity varies"
    simulator = CheetahVelSparseSimulator
    has_success = True
    has_dense_reward = True
    policies_of = "cheetah-vel"
