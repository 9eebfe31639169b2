"""L MuJoCo simulations side by side, each of its own model (needs the extra ``sim``)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray

#: Everything that a trajectory depends on, with the solver's warm start: from it, stepping is bit-exact.
STATE = mujoco.mjtState.mjSTATE_INTEGRATION

#: What a simulation computes after its substeps, beyond ``mj_step``.
PostStep = Callable[[Any, Any], None]


class Lanes(ABC):
    """L simulations that share nothing but their models' sizes.

    Attributes:
        models: [L] model of each lane; the same object may stand in several.
    """

    models: Sequence[Any]

    @abstractmethod
    def set_ctrl(self, ctrl: NDArray[np.float64]) -> None:
        """Set the controls [L, nu] for the substeps to come."""

    @abstractmethod
    def step(self, substeps: int, active: NDArray[np.bool_]) -> None:
        """``mj_step`` in the ``active`` lanes [L].

        As after ``mj_step`` itself, fields that derive from the state are one substep behind it.
        """

    @abstractmethod
    def refresh(self, active: NDArray[np.bool_]) -> None:
        """Bring fields that derive from positions and velocities up to the state.

        Those that derive from forces (contacts, touch sensors) are lost: read them before.
        """

    @abstractmethod
    def read(self, field: str) -> NDArray[np.float64]:
        """A field of ``MjData`` over all lanes [L, ...]; later steps may or may not write into it."""

    @abstractmethod
    def get_state(self, lane: int) -> NDArray[np.float64]:
        """A copy of a lane's full state [state], see :data:`STATE`."""

    @abstractmethod
    def set_state(self, lane: int, state: NDArray[np.float64]) -> None:
        """Restore a lane's full state; fields that derive from it are those of before."""

    @abstractmethod
    def data(self, lane: int) -> Any:
        """An ``MjData`` in the lane's state with all derived fields computed, for rendering."""

    def close(self) -> None:  # noqa: B027 (not every kind holds something)
        """Release threads."""


def make_lanes(models: Sequence[Any], *, threads: int = 1, post_step: PostStep | None = None) -> Lanes:
    """The fastest kind of lanes for the case; all kinds give the same bits.

    Args:
        models: [L] one per lane, of equal sizes.
        threads: upper bound on the threads that step.
        post_step: called with (model, data) of a lane after each of its :meth:`Lanes.step`.
    """
    if len(models) > 1 and post_step is None and find_spec("mjbatch") is not None:
        from clwm_data.families.mjbatch_lanes import BatchLanes

        return BatchLanes(models, threads=threads)
    return LoopLanes(models, threads=threads, post_step=post_step)


class LoopLanes(Lanes):
    """One ``MjData`` per lane, stepped in a loop; several threads take a share of the lanes each."""

    def __init__(self, models: Sequence[Any], *, threads: int = 1, post_step: PostStep | None = None) -> None:
        self.models = models
        self._data = [mujoco.MjData(model) for model in models]
        self._post_step = post_step
        self._pairs = list(zip(models, self._data, strict=True))
        self._ctrl = [data.ctrl for data in self._data]
        self._views: dict[str, list[NDArray[np.float64]]] = {}
        # But for Runge-Kutta, mj_step is mj_step1 and mj_step2: a refreshed lane needs only the latter.
        self._splits = models[0].opt.integrator != mujoco.mjtIntegrator.mjINT_RK4
        self._fresh = [False] * len(models)
        self._threads = min(threads, len(models))
        self._pool = ThreadPoolExecutor(self._threads) if self._threads > 1 else None

    def set_ctrl(self, ctrl: NDArray[np.float64]) -> None:
        """See :meth:`Lanes.set_ctrl`."""
        for row, values in zip(self._ctrl, ctrl, strict=True):
            row[:] = values

    def step(self, substeps: int, active: NDArray[np.bool_]) -> None:
        """See :meth:`Lanes.step`."""
        if self._pool is None:
            self._step(range(len(self.models)), substeps, active.tolist())
            return
        flags = active.tolist()
        shares = [range(first, len(flags), self._threads) for first in range(self._threads)]
        list(self._pool.map(lambda share: self._step(share, substeps, flags), shares))

    def _step(self, lanes: range, substeps: int, active: list[bool]) -> None:
        for lane in lanes:
            if not active[lane]:
                continue
            model, data = self._pairs[lane]
            if self._fresh[lane]:
                self._fresh[lane] = False
                mujoco.mj_step2(model, data)
                if substeps > 1:
                    mujoco.mj_step(model, data, substeps - 1)
            else:
                mujoco.mj_step(model, data, substeps)
            if self._post_step is not None:
                self._post_step(model, data)

    def refresh(self, active: NDArray[np.bool_]) -> None:
        """See :meth:`Lanes.refresh`."""
        for lane, is_active in enumerate(active.tolist()):
            if is_active:
                mujoco.mj_step1(*self._pairs[lane])
                self._fresh[lane] = self._splits

    def read(self, field: str) -> NDArray[np.float64]:
        """See :meth:`Lanes.read`; a view where there is one lane, else a copy."""
        views = self._views.get(field)
        if views is None:
            views = self._views[field] = [getattr(data, field) for data in self._data]
        return views[0][None] if len(views) == 1 else np.stack(views)

    def get_state(self, lane: int) -> NDArray[np.float64]:
        """See :meth:`Lanes.get_state`."""
        return state_of(*self._pairs[lane])

    def set_state(self, lane: int, state: NDArray[np.float64]) -> None:
        """See :meth:`Lanes.set_state`."""
        mujoco.mj_setState(*self._pairs[lane], state, STATE)
        self._fresh[lane] = False

    def data(self, lane: int) -> Any:
        """See :meth:`Lanes.data`."""
        return forwarded(self.models[lane], self.get_state(lane))

    def close(self) -> None:
        """Stop the threads."""
        if self._pool is not None:
            self._pool.shutdown()


def state_of(model: Any, data: Any) -> NDArray[np.float64]:
    """The full state [state] of a simulation."""
    state = np.empty(mujoco.mj_stateSize(model, STATE))
    mujoco.mj_getState(model, data, state, STATE)
    return state


def forwarded(model: Any, state: NDArray[np.float64]) -> Any:
    """A new ``MjData`` in a state, with all derived fields."""
    data = mujoco.MjData(model)
    mujoco.mj_setState(model, data, state, STATE)
    mujoco.mj_forward(model, data)
    return data
