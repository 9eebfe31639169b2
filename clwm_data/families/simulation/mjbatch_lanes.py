"""Lanes on the C++ thread pool of mjbatch (extra ``fast``): the same bits as a loop over ``mj_step``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import mjbatch
import mujoco
import numpy as np
from numpy.typing import NDArray

from clwm_data.families.simulation.mujoco_lanes import Lanes

# With these disabled, a forward pass does little more than mj_step1; it never changes the state.
_COSTLY = int(mujoco.mjtDisableBit.mjDSBL_CONSTRAINT | mujoco.mjtDisableBit.mjDSBL_CONTACT)


class BatchLanes(Lanes):
    """One ``mjbatch.Batch``: the first lane's model is the template, differing fields are set per lane.

    Raises:
        ValueError: bodies differ between the models, and MuJoCo would use their bounding volumes, which
            cannot be set per lane: contacts would be missed.
    """

    def __init__(self, models: Sequence[Any], fields: Sequence[str], *, threads: int = 1) -> None:
        self.models = models
        self._batch = mjbatch.Batch(models[0], len(models), min(threads, len(models)))
        self._state = self._batch.bind("state")
        self._ctrl = self._batch.bind("ctrl")
        self._views = {field: self._batch.bind(field) for field in fields}
        self._disabled: NDArray[np.int32] | None = None
        differing = differing_fields(models)
        midphase = not models[0].opt.disableflags & mujoco.mjtDisableBit.mjDSBL_MIDPHASE
        if midphase and any(not np.array_equal(model.bvh_aabb, models[0].bvh_aabb) for model in models):
            raise ValueError("models with different bounding volumes need mjDSBL_MIDPHASE: see compile_model")
        for field in differing:
            rows = self._batch.expand(field)
            for row, model in zip(rows, models, strict=True):
                row[...] = getattr(model, field)
        if any(not np.array_equal(model.opt.gravity, models[0].opt.gravity) for model in models):
            for row, model in zip(self._batch.expand("gravity"), models, strict=True):
                row[...] = model.opt.gravity

    def set_ctrl(self, ctrl: NDArray[np.float64]) -> None:
        """See :meth:`Lanes.set_ctrl`."""
        self._ctrl[...] = ctrl

    def step(self, substeps: int, active: NDArray[np.bool_]) -> None:
        """See :meth:`Lanes.step`."""
        self._batch.step(ids=None if active.all() else active, nstep=substeps)

    def refresh(self, active: NDArray[np.bool_]) -> None:
        """See :meth:`Lanes.refresh`: a forward pass without constraints."""
        if self._disabled is None:
            self._disabled = self._batch.expand("disableflags")
        self._disabled |= _COSTLY
        try:
            self._batch.forward(ids=None if active.all() else active)
        finally:
            self._disabled &= ~_COSTLY

    def read(self, field: str) -> NDArray[np.float64]:
        """See :meth:`Lanes.read`."""
        return self._views[field]

    def get_state(self, lane: int) -> NDArray[np.float64]:
        """See :meth:`Lanes.get_state`."""
        return np.array(self._state[lane])

    def set_state(self, lane: int, state: NDArray[np.float64]) -> None:
        """See :meth:`Lanes.set_state`."""
        self._state[lane] = state


def differing_fields(models: Sequence[Any]) -> list[str]:
    """Names of the ``MjModel`` arrays that are not the same in all models.

    Raises:
        ValueError: the models differ in their sizes: they cannot share one simulation's memory.
    """
    first, *others = {id(model): model for model in models}.values()
    if not others:
        return []
    for name in dir(first):
        if name.startswith("n") and isinstance(getattr(first, name), int):
            sizes = sorted({getattr(model, name) for model in (first, *others)})
            if len(sizes) > 1:
                raise ValueError(f"models differ in {name}: {' and '.join(map(str, sizes))}")
    # bvh_aabb cannot be expanded; without midphase (see compile_model) it is not used.
    return [
        name
        for name in dir(first)
        if isinstance(getattr(first, name), np.ndarray)
        and name not in ("_sizes", "bvh_aabb")
        and any(not np.array_equal(getattr(first, name), getattr(model, name)) for model in others)
    ]
