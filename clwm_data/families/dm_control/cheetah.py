"""dm_control's cheetah at a target speed: of either sign (cheetah-speed), of varying length (cheetah-ls)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clwm_data.families.dm_control.base import (
    DmControlFamily,
    DmControlSimulator,
    speeds,
    speeds_and_lengths,
)
from clwm_data.families.simulation.mujoco_simulator import SideBySide
from clwm_data.families.simulation.simulator import StepResult

SETTLING_STEPS = 200


class CheetahSimulator(DmControlSimulator):
    """Reward: the centre of mass moves at the target speed."""

    fields = ("qpos", "qvel", "sensordata")
    camera = "side"
    substeps = 1

    def __init__(
        self, tasks: Sequence[int], models: Sequence[Any], targets: NDArray[np.float64], *, threads: int = 1
    ) -> None:
        super().__init__(tasks, models, targets, threads=threads)
        self._velocity = self._lanes.read("sensordata")[:, 0]  # torso_subtreelinvel, x
        self._observation = SideBySide(self._lanes.read("qpos")[:, 1:], self._lanes.read("qvel"))

    def randomise(self, model: Any, data: Any, random: np.random.RandomState) -> None:
        """Draw limited joints anywhere in their ranges, and take the first of the settling steps.

        As in the suite, that step still sees the forces of the reference pose.
        """
        limited = model.jnt_limited == 1
        data.qpos[limited] = random.uniform(*model.jnt_range[limited].T)
        self._mujoco.mj_step2(model, data)

    def settle(self, lanes: NDArray[np.bool_]) -> None:
        """Fall to the ground without control; the clock starts afterwards."""
        self._lanes.step(SETTLING_STEPS - 1, lanes)
        for lane in np.flatnonzero(lanes).tolist():
            state = self._lanes.get_state(lane)
            state[0] = 0.0  # time leads the integration state
            self._lanes.set_state(lane, state)

    def step(self, action: NDArray[np.float64], active: NDArray[np.bool_]) -> StepResult:
        """Two control steps of 0.01 s."""
        self._lanes.set_ctrl(action)
        self._lanes.step(2 * self.substeps, active)
        self._first[...] = self._velocity  # the sensor lags one physics step behind
        self._lanes.refresh(active)
        self._second[...] = self._velocity
        return StepResult(self.step_reward(self._speed_reward(self._velocities)), self._never)

    def observe(self) -> NDArray[np.float64]:
        """qpos without x, qvel: [L, 17]."""
        return self._observation.update()


class CheetahFamily(DmControlFamily):
    """Base of cheetah-speed and cheetah-ls."""

    observation_size = 17
    step_seconds = 0.02
    action_size = 6
    file = "cheetah.xml"
    simulator = CheetahSimulator
    velocity_entry = 8  # of the root, along x

    @staticmethod
    def set_length(spec: Any, length: float) -> None:
        """Half-length of the torso; head and thighs stay at its ends. The total mass stays 14 kg."""
        spec.geom("torso").fromto = [-length, 0.0, 0.0, length, 0.0, 0.0]
        spec.geom("head").pos[0] = length + 0.1
        spec.body("bthigh").pos[0] = -length
        spec.body("fthigh").pos[0] = length


class CheetahSpeed(CheetahFamily):
    """Signed speeds in m/s."""

    name = "cheetah-speed"
    summary = "dm_control's cheetah runs at a target speed; the speed and its sign vary"

    def parameters(self) -> Iterable[dict[str, float]]:
        """Slow speeds in both directions and fast ones; ood speeds lie between them."""
        return speeds([(-10.0, -6.0), (-2.0, 2.0), (6.0, 10.0)], ood=[(-5.0, -3.0), (3.0, 5.0)])


class CheetahLengthSpeed(CheetahFamily):
    """Speeds in m/s x half-lengths of the torso in m."""

    name = "cheetah-ls"
    summary = "dm_control's cheetah runs at a target speed; the speed and the torso's length vary"
    dynamics_vary = True

    def parameters(self) -> Iterable[dict[str, float]]:
        """Ood tasks are slower and shorter, or faster and longer."""
        return speeds_and_lengths(
            ((3.0, 8.0), (0.4, 0.6)), ood=[((1.0, 2.0), (0.3, 0.35)), ((9.0, 10.0), (0.65, 0.7))]
        )
