"""Base of simulators of MuJoCo models: reset, states and pictures."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from clwm_data.families.simulation.rendering import Camera, Marker, import_mujoco, render_model
from clwm_data.families.simulation.simulator import Simulator

if TYPE_CHECKING:
    from clwm_data.families.simulation.mujoco_lanes import Lanes


class MujocoSimulator(Simulator):
    """Lanes of MuJoCo models; a subclass says how episodes begin, and computes observations and rewards.

    A lane's state is MuJoCo's integration state followed by what the subclass carries from step to step.
    This module imports MuJoCo only when a simulator is built, so that families can be listed without it.

    Args:
        tasks: task index of each lane.
        models: the ``MjModel`` of each lane, of equal sizes; several lanes may share one object.
        threads: upper bound on the threads that step.
    """

    #: Arrays of ``MjData`` that the subclass reads from ``self._lanes``.
    fields: ClassVar[tuple[str, ...]]
    #: Camera of :meth:`render`; a name refers to one of the model's own cameras.
    camera: ClassVar[str | Camera]
    #: Observations read fields that derive from the state, which must be recomputed first.
    observes_derived: ClassVar[bool] = False
    #: Call ``mj_rnePostConstraint`` after each step: it computes the external forces on the bodies.
    body_forces: ClassVar[bool] = False

    def __init__(self, tasks: Sequence[int], models: Sequence[Any], *, threads: int = 1) -> None:
        self._mujoco = import_mujoco("simulating MuJoCo models")
        from clwm_data.families.simulation.mujoco_lanes import make_lanes

        self.tasks = np.asarray(tasks, np.int64)
        #: [L] ``terminated`` of families whose episodes never end early.
        self._never = np.zeros(len(tasks), np.bool_)
        post_step = self._mujoco.mj_rnePostConstraint if self.body_forces else None
        self._lanes: Lanes = make_lanes(models, self.fields, threads=threads, post_step=post_step)
        self._scratch = self._mujoco.MjData(models[0])
        #: [L, k] what the subclass carries from one step to the next.
        self._carried = np.tile(self.carry(models[0], self._scratch), (len(models), 1))

    @abstractmethod
    def begin_episode(self, model: Any, data: Any, seed: int) -> None:
        """Bring ``data``, fresh from ``mj_resetData``, into an initial state drawn from ``seed`` alone."""

    def prepare(self, lane: int, data: Any) -> None:
        """Called after :meth:`begin_episode` to set what else differs between lanes, besides their models."""

    def settle(self, lanes: NDArray[np.bool_]) -> None:
        """Called when episodes begin in ``lanes`` [L], to take physics steps before the first observation."""

    def carry(self, model: Any, data: Any) -> NDArray[np.float64]:
        """Values [k] to carry from step to step beside MuJoCo's own state, at the beginning of an episode."""
        return np.zeros(0)

    def reset(self, lanes: NDArray[np.int64], seeds: Sequence[int]) -> None:
        """Put each lane into the initial state of its seed."""
        from clwm_data.families.simulation.mujoco_lanes import state_of

        mask = np.zeros(len(self.tasks), np.bool_)
        mask[lanes] = True
        for lane, seed in zip(lanes.tolist(), seeds, strict=True):
            model = self._lanes.models[lane]
            self._mujoco.mj_resetData(model, self._scratch)
            self.begin_episode(model, self._scratch, seed)
            self.prepare(lane, self._scratch)
            self._lanes.set_state(lane, state_of(model, self._scratch))
            self._carried[lane] = self.carry(model, self._scratch)
        self.settle(mask)
        if self.observes_derived:
            self._lanes.refresh(mask)

    def get_state(self, lane: int) -> NDArray[np.float64]:
        """MuJoCo's integration state and what is carried beside it [state]."""
        return np.concatenate([self._lanes.get_state(lane), self._carried[lane]])

    def set_state(self, lane: int, state: NDArray[np.float64]) -> None:
        """Restore a state of :meth:`get_state`."""
        physics, self._carried[lane] = np.split(state, [len(state) - self._carried.shape[1]])
        self._lanes.set_state(lane, physics)
        if self.observes_derived:
            self._lanes.refresh(np.arange(len(self.tasks)) == lane)

    def markers(self, lane: int) -> Sequence[Marker]:
        """Markers that pictures of a lane show beside the model, e.g. a goal."""
        return ()

    def render(self, lane: int) -> NDArray[np.uint8]:
        """An RGB picture [height, width, 3] of a lane."""
        from clwm_data.families.simulation.mujoco_lanes import STATE

        model = self._lanes.models[lane]
        self._mujoco.mj_setState(model, self._scratch, self._lanes.get_state(lane), STATE)
        self._mujoco.mj_forward(model, self._scratch)
        return render_model(model, self._scratch, self.camera, markers=self.markers(lane))

    def close(self) -> None:
        """Stop the threads."""
        self._lanes.close()


class SideBySide:
    """An array [L, n1 + n2 + ...] concatenated from live arrays [L, n1], [L, n2], ...

    Its slices are made once: for a few lanes, slicing costs as much as the arithmetic.
    """

    def __init__(self, *parts: NDArray[np.float64]) -> None:
        self._array = np.concatenate(parts, axis=1)
        ends = np.cumsum([part.shape[1] for part in parts])
        self._copies = list(zip(np.split(self._array, ends[:-1], axis=1), parts, strict=True))

    def update(self) -> NDArray[np.float64]:
        """The current values of the parts; always the same array."""
        for target, part in self._copies:
            target[...] = part
        return self._array
