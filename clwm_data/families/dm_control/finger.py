"""dm_control's finger at a target speed: of either sign (finger-speed), of varying length (finger-ls)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from types import MappingProxyType
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
from clwm_data.families.simulation.mujoco_simulator import SideBySide
from clwm_data.families.simulation.simulator import StepResult

HINGE = 2  # joint and degree of freedom of the spinning body
HINGE_DAMPING = 0.03  # the spin task's; the XML's 0.5 is the turn tasks'
MAX_ATTEMPTS = 1000

# Entries of sensordata.
JOINTS = slice(0, 2)  # proximal, distal: angles
VELOCITIES = slice(2, 5)  # proximal, distal, hinge
TIP_XZ = slice(5, 8, 2)
SPINNER_XZ = slice(11, 14, 2)
TOUCH = slice(14, 16)  # top, bottom


class FingerSimulator(DmControlSimulator):
    """Reward: the body spins at the target speed (positive: against the suite's own direction).

    The touch sensors measure the contacts of the last physics step, so they are carried beside the state.
    """

    fields = ("qvel", "sensordata")
    camera = "cam0"
    substeps = 2

    def __init__(
        self, tasks: Sequence[int], models: Sequence[Any], targets: NDArray[np.float64], *, threads: int = 1
    ) -> None:
        super().__init__(tasks, models, targets, threads=threads)
        sensors = self._lanes.read("sensordata")
        self._velocity = self._lanes.read("qvel")[:, HINGE]
        self._touch, self._tip, self._spinner = (sensors[:, entry] for entry in (TOUCH, TIP_XZ, SPINNER_XZ))
        self._tip_offset, self._log_touch = np.zeros((len(tasks), 2)), np.zeros((len(tasks), 2))
        self._observation = SideBySide(
            sensors[:, JOINTS], self._tip_offset, sensors[:, VELOCITIES], self._log_touch
        )

    def randomise(self, model: Any, data: Any, random: np.random.RandomState) -> None:
        """Draw any pose without contact."""
        for _ in range(MAX_ATTEMPTS):
            randomise_joints(model, data, random)
            self._mujoco.mj_forward(model, data)
            if data.ncon == 0:
                return
        raise RuntimeError(f"no collision-free state in {MAX_ATTEMPTS} attempts")

    def carry(self, model: Any, data: Any) -> NDArray[np.float64]:
        """Touch sensors [2], in N."""
        return np.array(data.sensordata[TOUCH])

    def step(self, action: NDArray[np.float64], active: NDArray[np.bool_]) -> StepResult:
        """Two control steps of 0.02 s."""
        lanes = self._lanes
        lanes.set_ctrl(action)
        lanes.step(self.substeps, active)
        self._first[...] = self._velocity
        lanes.step(self.substeps, active)
        self._second[...] = self._velocity
        np.copyto(self._carried, self._touch, where=active[:, None])
        lanes.refresh(active)
        return StepResult(self.step_reward(self._speed_reward(self._velocities)), self._never)

    def observe(self) -> NDArray[np.float64]:
        """Two joint angles, the body's tip from its hinge (x, z), three velocities, log touch: [L, 9]."""
        np.subtract(self._tip, self._spinner, out=self._tip_offset)
        np.log1p(self._carried, out=self._log_touch)
        return self._observation.update()


class FingerFamily(DmControlFamily):
    """Base of finger-speed and finger-ls."""

    observation_size = 9
    step_seconds = 0.04
    action_size = 2
    file = "finger.xml"
    simulator = FingerSimulator
    units = MappingProxyType({"speed": "rad/s", "length": "m"})
    velocity_entry = 6  # of the hinge

    @staticmethod
    def set_length(spec: Any, length: float) -> None:
        """Length of the distal link; the spinning body moves away and grows with it."""
        spec.geom("distal").fromto = [0.0, 0.0, 0.0, 0.0, 0.0, -length]
        spec.geom("fingertip").fromto = [0.0, 0.0, -(length - 0.03), 0.0, 0.0, -(length + 0.001)]
        spec.body("spinner").pos[0] = length + 0.04
        for cap in ("cap1", "cap2"):
            spec.geom(cap).size[1] = length - 0.07

    def load_model(self, length: Any, render_mode: str | None = None) -> Any:
        """The model with the damping of the spin task, and with the markers of the turn tasks hidden."""
        model = super().load_model(length, render_mode)
        model.dof_damping[HINGE] = HINGE_DAMPING
        for site in ("target", "tip"):
            model.site(site).rgba[3] = 0.0
        return model


class FingerSpeed(FingerFamily):
    """Signed speeds in rad/s."""

    name = "finger-speed"
    summary = "dm_control's finger spins a body at a target speed; the speed and its sign vary"

    def parameters(self) -> Iterable[dict[str, float]]:
        """Slow speeds in both directions and fast ones; ood speeds lie between them."""
        return speeds([(-15.0, -9.0), (-3.0, 3.0), (9.0, 15.0)], ood=[(-8.0, -4.0), (4.0, 8.0)])


class FingerLengthSpeed(FingerFamily):
    """Speeds in rad/s x lengths of the distal link in m."""

    name = "finger-ls"
    summary = "dm_control's finger spins a body at a target speed; the speed and the finger's length vary"
    dynamics_vary = True

    def parameters(self) -> Iterable[dict[str, float]]:
        """Ood tasks are slower and shorter, or faster and longer."""
        return speeds_and_lengths(
            ((5.0, 10.0), (0.15, 0.25)), ood=[((3.0, 4.0), (0.1, 0.125)), ((11.0, 12.0), (0.275, 0.3))]
        )
