"""A store as flat arrays, one row per transition, as most other libraries want them."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from clwm_data.errors import ClwmError
from clwm_data.families.base import Split
from clwm_data.store.arrays import TaskArrays

if TYPE_CHECKING:
    from clwm_data.store.reader import Store


def chosen_tasks(store: Store, tasks: Collection[int] | None, split: Split | None) -> list[int]:
    """Indices of the store's tasks that are among ``tasks`` and of ``split``, ascending.

    Raises:
        ClwmError: a task that the store does not hold.
    """
    for index in tasks or ():
        if index not in store.tasks:
            raise ClwmError(
                f"{store.path}: holds no task {index}; it has: {', '.join(map(str, store.tasks))}"
            )
    return [
        index
        for index, task in store.tasks.items()
        if (tasks is None or index in tasks) and (split is None or task.split == split)
    ]


def flat_arrays(loaded: Iterable[tuple[int, TaskArrays]]) -> dict[str, NDArray[Any]]:
    """All transitions of some tasks; see :meth:`clwm_data.store.Store.to_arrays`.

    Raises:
        ClwmError: no tasks.
    """
    parts: list[dict[str, NDArray[Any]]] = []
    for index, arrays in loaded:
        row = arrays.observation_row()
        part: dict[str, NDArray[Any]] = {
            "observation": arrays.observation[row],
            "action": arrays.action,
            "reward": arrays.reward,
            "next_observation": arrays.observation[row + 1],
            "terminated": arrays.terminated,
            "truncated": arrays.truncated,
            "task": np.full(arrays.transitions, index, np.int64),
            "episode": np.repeat(np.arange(arrays.episodes), arrays.episode_length),
            "behaviour": np.repeat(arrays.episode_behaviour, arrays.episode_length),
        }
        if arrays.success is not None:
            part["success"] = arrays.success
        parts.append(part)
    if not parts:
        raise ClwmError("no task of the store was chosen: there are no transitions")
    names = [name for name in parts[0] if all(name in part for part in parts)]
    return {name: np.concatenate([part[name] for part in parts]) for name in names}
