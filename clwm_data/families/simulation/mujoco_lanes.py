"""L MuJoCo simulations side by side, each with its own model (needs the extra ``sim``)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from importlib.util import find_spec
from typing import Any

import mujoco
import numpy as np
from mujoco import mj_step, mj_step1, mj_step2
from numpy.typing import NDArray

from clwm_data.errors import UnavailableError

#: All that a trajectory depends on, with the solver's warm start: steps from a restored state are bit-exact.
STATE = mujoco.mjtState.mjSTATE_INTEGRATION

#: What a simulation computes after its substeps, beyond ``mj_step``.
PostStep = Callable[[Any, Any], None]


class Lanes(ABC):
    """L simulations that share nothing but their models' sizes.

    Attributes:
        models: [L] model of each lane; several lanes may share one object.
    """

    models: Sequence[Any]

    @abstractmethod
    def set_ctrl(self, ctrl: NDArray[np.float64]) -> None:
        """Set the controls [L, nu] for the substeps to come."""

    @abstractmethod
    def step(self, substeps: int, active: NDArray[np.bool_]) -> None:
        """``mj_step`` in the ``active`` lanes [L].

        As with ``mj_step`` itself, fields that derive from the state lag one substep behind it.
        """

    @abstractmethod
    def refresh(self, active: NDArray[np.bool_]) -> None:
        """Recompute fields that derive from positions and velocities in the ``active`` lanes.

        Fields that derive from forces, such as touch sensors, are lost: read them first.
        """

    @abstractmethod
    def read(self, field: str) -> NDArray[np.float64]:
        """A field [L, ...] named at construction: always the same live array; copy it to keep its values."""

    @abstractmethod
    def get_state(self, lane: int) -> NDArray[np.float64]:
        """A copy of a lane's full state [state], see :data:`STATE`."""

    @abstractmethod
    def set_state(self, lane: int, state: NDArray[np.float64]) -> None:
        """Restore a lane's full state; fields that derive from it stay outdated."""

    def close(self) -> None:  # noqa: B027 (most kinds hold nothing)
        """Release threads."""


def make_lanes(
    models: Sequence[Any], fields: Sequence[str], *, threads: int = 1, post_step: PostStep | None = None
) -> Lanes:
    """The fastest kind of lanes for these models; all kinds give bit-identical results.

    Args:
        models: [L] one per lane, of equal sizes.
        fields: names of the ``MjData`` arrays that will be read.
        threads: upper bound on the threads that step.
        post_step: called with (model, data) of a lane after each of its :meth:`Lanes.step`.

    Raises:
        ClwmError: mjbatch is installed but does not fit the installed MuJoCo.
    """
    if len(models) == 1:
        return SingleLane(models[0], fields, post_step=post_step)
    if post_step is None and find_spec("mjbatch") is not None:
        try:
            from clwm_data.families.simulation.mjbatch_lanes import BatchLanes
        except ImportError as error:  # it is built for one version of MuJoCo
            raise UnavailableError(
                f"mjbatch does not work with mujoco {mujoco.__version__}: {' '.join(str(error).split())}: "
                'pip install "clwm[fast]" installs a matching pair; without mjbatch clwm uses a slower loop'
            ) from error
        return BatchLanes(models, fields, threads=threads)
    return LoopLanes(models, fields, threads=threads, post_step=post_step)


class SingleLane(Lanes):
    """One ``MjData``, with minimal overhead around MuJoCo's own functions; it steps even if not active."""

    def __init__(self, model: Any, fields: Sequence[str], *, post_step: PostStep | None = None) -> None:
        self.models = [model]
        self._model = model
        self._data = mujoco.MjData(model)
        self._post_step = post_step
        self._ctrl = self._data.ctrl[None]
        self._views: dict[str, NDArray[np.float64]] = {
            field: getattr(self._data, field)[None] for field in fields
        }
        # Except with Runge-Kutta, mj_step is mj_step1 and mj_step2: after a refresh only the latter is left.
        self._splits = model.opt.integrator != mujoco.mjtIntegrator.mjINT_RK4
        self._fresh = False

    def set_ctrl(self, ctrl: NDArray[np.float64]) -> None:
        """See :meth:`Lanes.set_ctrl`."""
        self._ctrl[...] = ctrl

    def step(self, substeps: int, active: NDArray[np.bool_]) -> None:
        """See :meth:`Lanes.step`."""
        if self._fresh:
            self._fresh = False
            mj_step2(self._model, self._data)
            if substeps > 1:
                mj_step(self._model, self._data, substeps - 1)
        else:
            mj_step(self._model, self._data, substeps)
        if self._post_step is not None:
            self._post_step(self._model, self._data)

    def refresh(self, active: NDArray[np.bool_]) -> None:
        """See :meth:`Lanes.refresh`."""
        mj_step1(self._model, self._data)
        self._fresh = self._splits

    def read(self, field: str) -> NDArray[np.float64]:
        """See :meth:`Lanes.read`."""
        return self._views[field]

    def get_state(self, lane: int) -> NDArray[np.float64]:
        """See :meth:`Lanes.get_state`."""
        return state_of(self._model, self._data)

    def set_state(self, lane: int, state: NDArray[np.float64]) -> None:
        """See :meth:`Lanes.set_state`."""
        mujoco.mj_setState(self._model, self._data, state, STATE)
        self._fresh = False


class LoopLanes(Lanes):
    """Single lanes in a loop; several threads take a share each."""

    def __init__(
        self,
        models: Sequence[Any],
        fields: Sequence[str],
        *,
        threads: int = 1,
        post_step: PostStep | None = None,
    ) -> None:
        self.models = models
        self._lanes = [SingleLane(model, fields, post_step=post_step) for model in models]
        self._arrays = {field: np.concatenate([lane.read(field) for lane in self._lanes]) for field in fields}
        threads = min(threads, len(models))
        self._shares = [range(first, len(models), threads) for first in range(threads)]
        self._pool = ThreadPoolExecutor(threads) if threads > 1 else None

    def set_ctrl(self, ctrl: NDArray[np.float64]) -> None:
        """See :meth:`Lanes.set_ctrl`."""
        for lane, values in zip(self._lanes, ctrl, strict=True):
            lane.set_ctrl(values)

    def step(self, substeps: int, active: NDArray[np.bool_]) -> None:
        """See :meth:`Lanes.step`."""
        self._each_active(active, lambda lane: lane.step(substeps, active))

    def refresh(self, active: NDArray[np.bool_]) -> None:
        """See :meth:`Lanes.refresh`."""
        self._each_active(active, lambda lane: lane.refresh(active))

    def _each_active(self, active: NDArray[np.bool_], call: Callable[[SingleLane], None]) -> None:
        flags = active.tolist()

        def run(share: range) -> None:
            for index in share:
                if flags[index]:
                    call(self._lanes[index])
                    self._pull(index)

        if self._pool is None:
            run(self._shares[0])
        else:
            futures = [self._pool.submit(run, share) for share in self._shares]
            try:
                for future in futures:
                    future.result()
            finally:
                wait(futures)  # after Ctrl-C, too: no thread may step what the next call resets

    def read(self, field: str) -> NDArray[np.float64]:
        """See :meth:`Lanes.read`."""
        return self._arrays[field]

    def _pull(self, lane: int) -> None:
        for field, array in self._arrays.items():
            array[lane] = self._lanes[lane].read(field)[0]

    def get_state(self, lane: int) -> NDArray[np.float64]:
        """See :meth:`Lanes.get_state`."""
        return self._lanes[lane].get_state(0)

    def set_state(self, lane: int, state: NDArray[np.float64]) -> None:
        """See :meth:`Lanes.set_state`."""
        self._lanes[lane].set_state(0, state)
        self._pull(lane)

    def close(self) -> None:
        """Stop the threads."""
        if self._pool is not None:
            self._pool.shutdown()


def state_of(model: Any, data: Any) -> NDArray[np.float64]:
    """The full state [state] of a simulation, see :data:`STATE`."""
    state = np.empty(mujoco.mj_stateSize(model, STATE))
    mujoco.mj_getState(model, data, state, STATE)
    return state
