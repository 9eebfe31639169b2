"""A store as flat arrays, one row per transition, as most other libraries expect them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from clwm_data.errors import InvalidInputError, NotFoundError
from clwm_data.families.base import SPLITS, Split
from clwm_data.memory import TooLargeError, available_memory
from clwm_data.ranges import IndexChoice, format_indices, indices_of
from clwm_data.yaml_values import shown

if TYPE_CHECKING:
    from clwm_data.store.reader import Store

#: Bytes of a transition's task, episode and behaviour.
INDEX_BYTES = 8 + 8 + 2


def chosen_tasks(store: Store, tasks: IndexChoice | None, split: Split | None) -> list[int]:
    """Indices of the store's tasks that are among ``tasks`` and of ``split``, ascending.

    Raises:
        NotFoundError: a task that the store does not hold.
        InvalidInputError: no selection of tasks, or not ``train``, ``id`` or ``ood``.
    """
    if split is not None and split not in SPLITS:
        raise InvalidInputError(f"{store.path}: a split is one of {', '.join(SPLITS)}, not {shown(split)}")
    chosen = None if tasks is None else indices_of(tasks, [*store.tasks])
    for index in chosen or ():
        if index not in store.tasks:
            raise NotFoundError(
                f"{store.path}: holds no task {shown(index)}; it has: {format_indices(store.tasks)}"
            )
    return [
        index
        for index in store.tasks
        if (chosen is None or index in chosen) and (split is None or store.tasks[index].split == split)
    ]


def flat_arrays(store: Store, indices: Sequence[int], *, verify: bool = True) -> dict[str, NDArray[Any]]:
    """All transitions of some tasks; see :meth:`clwm_data.store.Store.to_arrays`.

    Raises:
        NotFoundError: no tasks.
        TooLargeError: they do not fit into the memory that this process may use.
        ClwmError: as :meth:`clwm_data.store.StoredTask.load`.
    """
    if not indices:
        raise NotFoundError(f"{store.path}: no task of the store was chosen: there are no transitions")
    needed, memory = _flat_bytes(store, indices), available_memory()
    if needed > memory:
        raise TooLargeError(
            f"{store.path}: its transitions take {needed} bytes as flat arrays, more than the memory of "
            f"{memory} bytes that this process may use: choose fewer tasks, or iterate over store.episodes()"
        )
    parts: list[dict[str, NDArray[Any]]] = []
    for index in indices:
        arrays = store.tasks[index].load(verify=verify)
        row = arrays.observation_row()
        part: dict[str, NDArray[Any]] = {
            "observation": arrays.observation[row],
            "action": arrays.stored_action,
            "reward": arrays.reward,
            "next_observation": arrays.observation[row + 1],
            "terminated": arrays.terminated,
            "truncated": arrays.truncated,
            "task": np.full(arrays.transitions, index, np.int64),
            "episode": np.repeat(np.arange(arrays.episodes), arrays.episode_length),
            "behaviour": np.repeat(arrays.episode_behaviour, arrays.episode_length),
        }
        for name in ("success", "dense_reward"):
            if (values := getattr(arrays, name)) is not None:
                part[name] = values
        parts.append(part)
    names = [name for name in parts[0] if all(name in part for part in parts)]
    return {name: np.concatenate([part[name] for part in parts]) for name in names}


def _flat_bytes(store: Store, indices: Sequence[int]) -> int:
    """Peak memory: the flat arrays, and the parts of all tasks that they are joined from."""
    sizes = [
        store.tasks[index].nbytes
        + store.tasks[index].arrays["observation"].nbytes  # once before and once after each action
        + INDEX_BYTES * store.tasks[index].record.transitions
        for index in indices
    ]
    return 2 * sum(sizes)
