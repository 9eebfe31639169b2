"""A simulator of MuJoCo models: reset, states and pictures; what is specific to a family stays with it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from clwm_data.extras import require
from clwm_data.families.simulator import Simulator

if TYPE_CHECKING:
    from clwm_data.families.mujoco_lanes import Lanes


class MujocoSimulator(Simulator):
    """Lanes of MuJoCo models; a subclass says how episodes begin, and computes observations and rewards.

    This module imports MuJoCo only when a simulator is built, so that families can be listed without it.

    Args:
        tasks: task index of each lane.
        models: the ``MjModel`` of each lane, of equal sizes; the same object may stand in several.
        threads: upper bound on the threads that step.
    """

    #: Name of the camera that :meth:`render` looks through.
    camera: str
    #: Gymnasium reads body forces that ``mj_step`` alone leaves out: compute them after every step.
    needs_body_forces = False

    def __init__(self, tasks: Sequence[int], models: Sequence[Any], *, threads: int = 1) -> None:
        from clwm_data.families.mujoco_lanes import make_lanes

        self.tasks = np.asarray(tasks, np.int64)
        self._mujoco = require("mujoco", "sim", "simulating MuJoCo models")
        post_step = self._mujoco.mj_rnePostConstraint if self.needs_body_forces else None
        self._lanes: Lanes = make_lanes(models, threads=threads, post_step=post_step)
        self._scratch = self._mujoco.MjData(models[0])

    @abstractmethod
    def begin_episode(self, model: Any, data: Any, seed: int) -> None:
        """Bring ``data``, fresh from ``mj_resetData``, into an initial state drawn from ``seed`` alone."""

    def reset(self, lanes: NDArray[np.int64], seeds: Sequence[int]) -> None:
        """Put each lane into the initial state of its seed."""
        from clwm_data.families.mujoco_lanes import state_of

        for lane, seed in zip(lanes.tolist(), seeds, strict=True):
            model = self._lanes.models[lane]
            self._mujoco.mj_resetData(model, self._scratch)
            self.begin_episode(model, self._scratch, seed)
            self._lanes.set_state(lane, state_of(model, self._scratch))

    def get_state(self, lane: int) -> NDArray[np.float64]:
        """MuJoCo's integration state [state]."""
        return self._lanes.get_state(lane)

    def set_state(self, lane: int, state: NDArray[np.float64]) -> None:
        """Restore MuJoCo's integration state [state]."""
        self._lanes.set_state(lane, state)

    def render(self, lane: int) -> NDArray[np.uint8]:
        """An RGB picture [height, width, 3] of a lane, through the model's own camera."""
        # Imported here: stepping must not touch OpenGL.
        rendering = import_module("clwm_data.families.rendering")
        picture = rendering.render_model(self._lanes.models[lane], self._lanes.data(lane), self.camera)
        return np.asarray(picture, np.uint8)

    def close(self) -> None:
        """Stop the threads."""
        self._lanes.close()
