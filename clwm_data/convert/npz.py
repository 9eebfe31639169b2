"""To one plain ``.npz`` file of flat arrays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from clwm_data.errors import ClwmError
from clwm_data.opening import open_store
from clwm_data.store.atomic import replacing


def to_npz(source: Path | str, target: Path | str) -> Path:
    """Write all transitions of a store as flat arrays, which are in memory for that time.

    The file holds the arrays of :meth:`clwm_data.store.Store.to_arrays`, and of the tasks ``task_index`` [K],
    ``task_split`` [K] and every parameter as ``parameter_<name>`` [K, ...] (NaN where a task has none).

    Raises:
        ClwmError: no such store, ``target`` is there already, or the disk is full.
    """
    store, target = open_store(source), Path(target)
    if target.exists():
        raise ClwmError(f"{target}: is there already: choose another name, or remove it first")
    arrays: dict[str, Any] = store.to_arrays()
    arrays["task_index"] = np.array(list(store.tasks), np.int64)
    arrays["task_split"] = np.array([task.split for task in store.tasks.values()])
    names = {name for task in store.tasks.values() for name in task.parameters}
    for name in sorted(names):
        values = [task.parameters.get(name) for task in store.tasks.values()]
        missing = np.full_like(next(np.asarray(value) for value in values if value is not None), np.nan)
        arrays[f"parameter_{name}"] = np.array([missing if value is None else value for value in values])
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with replacing(target) as temporary, temporary.open("wb") as stream:
            np.savez(stream, **arrays)
    except OSError as error:
        raise ClwmError(f"{target}: cannot be written: {error.strerror or error}") from error
    return target
