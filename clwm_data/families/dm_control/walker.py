"""dm_control's walker at a target speed: of either sign (walker-speed), of varying length (walker-ls)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clwm_data.families.dm_control.base import (
    DmControlFamily,
    DmControlSimulator,
    randomise_joints,
    speeds,
    speeds_and_lengths,
)
from clwm_data.families.simulation.simulator import StepResult

TORSO = 1  # body
XX, XZ, ZZ = 0, 2, 8  # entries of a rotation matrix
STAND_HEIGHT = 1.2  # m
STAND_SCALE = float(np.sqrt(-2.0 * np.log(0.1)))  # of a Gaussian that is 0.1 at 1


class WalkerSimulator(DmControlSimulator):
    """Reward: the suite's stand reward x (5 move + 1) / 6, move: the centre of mass has the target speed."""

    fields = ("qvel", "sensordata", "xmat", "xpos")
    camera = "side"
    substeps = 10

    def __init__(
        self, tasks: Sequence[int], models: Sequence[Any], targets: NDArray[np.float64], *, threads: int = 1
    ) -> None:
        super().__init__(tasks, models, targets, threads=threads)
        self._standing = np.zeros_like(self._velocities)  # after the two control steps

    def randomise(self, model: Any, data: Any, random: np.random.RandomState) -> None:
        """Draw any pose; the walker falls at first."""
        randomise_joints(model, data, random)

    def step(self, action: NDArray[np.float64], active: NDArray[np.bool_]) -> StepResult:
        """Two control steps of 0.025 s."""
        self._lanes.set_ctrl(action)
        for control_step in range(2):
            self._lanes.step(self.substeps, active)
            self._lanes.refresh(active)
            self._velocities[control_step] = self._lanes.read("sensordata")[:, 0]
            self._standing[control_step] = self.standing()
        return StepResult(self.step_reward(self._speed_reward(self._velocities)), self._never)

    def step_reward(self, speed_reward: NDArray[np.float64]) -> NDArray[np.float64]:
        """See the class."""
        return super().step_reward(self._standing * (5.0 * speed_reward + 1.0) / 6.0)

    def standing(self) -> NDArray[np.float64]:
        """[L] in [0, 1]: three parts for the torso's height (1.2 m or more), one for being upright."""
        height = self._lanes.read("xpos")[:, TORSO, 2]
        upright = (1.0 + self._lanes.read("xmat")[:, TORSO, ZZ]) / 2.0
        shortfall = np.maximum(STAND_HEIGHT - height, 0.0) / (STAND_HEIGHT / 2.0)
        tall = np.exp(-0.5 * np.square(shortfall * STAND_SCALE))
        return np.asarray((3.0 * tall + upright) / 4.0)

    def observe(self) -> NDArray[np.float64]:
        """Orientation of the 7 bodies (xx, xz), the torso's height, qvel: [L, 24]."""
        orientation = self._lanes.read("xmat")[:, TORSO:, [XX, XZ]].reshape(len(self.tasks), -1)
        height = self._lanes.read("xpos")[:, TORSO, 2:]
        return np.concatenate([orientation, height, self._lanes.read("qvel")], axis=1)


class WalkerFamily(DmControlFamily):
    """Base of walker-speed and walker-ls."""

    observation_size = 24
    step_seconds = 0.05
    action_size = 6
    file = "walker.xml"
    simulator = WalkerSimulator
    velocity_entry = 16  # of the root, along x

    @staticmethod
    def set_length(spec: Any, length: float) -> None:
        """Half-length of the torso's capsule."""
        spec.geom("torso").size[1] = length


class WalkerSpeed(WalkerFamily):
    """Signed speeds in m/s."""

    name = "walker-speed"
    summary = "dm_control's walker walks at a target speed; the speed and its sign vary"

    def parameters(self) -> Iterable[dict[str, float]]:
        """Slow speeds in both directions and fast ones; ood speeds lie between them."""
        return speeds([(-5.0, -3.0), (-1.0, 1.0), (3.0, 5.0)], ood=[(-2.5, -1.5), (1.5, 2.5)])


class WalkerLengthSpeed(WalkerFamily):
    """Speeds in m/s x half-lengths of the torso in m."""

    name = "walker-ls"
    summary = "dm_control's walker walks at a target speed; the speed and the torso's length vary"
    dynamics_vary = True

    def parameters(self) -> Iterable[dict[str, float]]:
        """Ood tasks are slower and shorter, or faster and longer."""
        return speeds_and_lengths(
            ((2.0, 4.5), (0.2, 0.4)), ood=[((1.0, 1.5), (0.1, 0.15)), ((5.0, 5.5), (0.45, 0.5))]
        )
