"""HalfCheetah-v5 running at a fixed velocity while a constant force pushes or slows it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clwm_data.families.base import Task
from clwm_data.families.gymnasium_mujoco.base import SPLIT_A, load_model
from clwm_data.families.gymnasium_mujoco.cheetah_vel import CheetahFamily, CheetahVelSimulator
from clwm_data.families.simulation.simulator import Simulator

VELOCITY = 1.5  # m/s
STRONGEST = 10.0  # N


class CheetahWindSimulator(CheetahVelSimulator):
    """Reward of cheetah-vel with a target of 1.5 m/s; a constant force acts on the torso's horizontal slide.

    Args:
        winds: [L] force in N; positive pushes forwards.
    """

    def __init__(
        self, tasks: Sequence[int], model: Any, winds: NDArray[np.float64], *, threads: int = 1
    ) -> None:
        super().__init__(tasks, model, np.full(len(tasks), VELOCITY), threads=threads)
        self._winds = winds

    def prepare(self, lane: int, data: Any) -> None:
        """Set the force, which is part of MuJoCo's state and persists."""
        data.qfrc_applied[0] = self._winds[lane]

    def rewards_across(self) -> None:
        """The dynamics differ between tasks."""


class CheetahWind(CheetahFamily):
    """40 forces linspace(-10, 10, 40) in N.

    A force of up to 10 N along the root's slide, with the reward of cheetah-vel, as in the wind environment
    of LILAC (Xie et al. 2020). LILAC changes force and target velocity between episodes; here the target
    stays in the middle of its range.
    """

    name = "cheetah-wind"
    summary = "HalfCheetah runs at 1.5 m/s in a wind; the wind's force varies"
    dynamics_vary = True
    units = MappingProxyType({"wind": "N"})

    def list_tasks(self) -> Iterable[Task]:
        """Forces in ascending order, from headwind to tailwind."""
        for index, wind in enumerate(np.linspace(-STRONGEST, STRONGEST, 40)):
            yield Task(index, SPLIT_A[index], {"wind": float(wind)})

    def make_simulator(
        self, tasks: Sequence[int], *, threads: int = 1, render_mode: str | None = None
    ) -> Simulator:
        """One model for all lanes."""
        model = load_model("half_cheetah.xml", family=self.name, render_mode=render_mode)
        winds = np.asarray([self.task(task).number("wind") for task in tasks])
        return CheetahWindSimulator(tasks, model, winds, threads=threads)
