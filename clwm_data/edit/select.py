"""Making a store from a part of another."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clwm_data.edit.building import building, copy_task, description, edit, present, write_episodes
from clwm_data.errors import InvalidInputError, NotFoundError
from clwm_data.families.base import SPLITS, Split
from clwm_data.manifest import BehaviourEntry
from clwm_data.opening import open_store
from clwm_data.paths import dataset_name
from clwm_data.ranges import IndexChoice, format_indices, indices_of, several
from clwm_data.store.arrays import TaskArrays
from clwm_data.store.reader import Store
from clwm_data.store.root_writer import write_root
from clwm_data.store.stored_task import StoredTask
from clwm_data.suggestions import suggestion


def select(
    source: Path | str | Store,
    target: Path | str,
    *,
    tasks: IndexChoice | None = None,
    splits: str | Iterable[Split] | None = None,
    behaviours: str | Iterable[str] | None = None,
    min_return: float | None = None,
    episodes: IndexChoice | None = None,
    on_progress: Callable[[int, int], object] | None = None,
) -> Store:
    """Make a store of the episodes that pass all of the given conditions.

    Episodes keep their order, seeds and states; a task of which no episode passes is left out.
    (Eight parameters: each condition is one.)

    Args:
        source: the store to choose from; it is not changed.
        target: folder of the new store.
        tasks: only these tasks: their indices, one index, or text such as ``"0-4,7"``.
        splits: only tasks of these splits, or of this one.
        behaviours: only episodes by these policies, or by this one (names as in the manifest).
        min_return: only episodes with at least this undiscounted return.
        episodes: only these episodes of each task, by their numbers from 0, chosen as tasks are.
        on_progress: called with (tasks done, tasks to go through).

    Raises:
        NotFoundError: no such store, or a task, a split or a policy that it does not have.
        InvalidInputError: no episode passes, or a choice is neither whole numbers nor such text.
        ConflictError: ``target`` is there already, or another process is making it.
        DamagedDataError: the store is damaged.
        UnavailableError: the disk is full, or write-protected.
    """
    store = open_store(source)
    tasks = None if tasks is None else indices_of(tasks, list(store.tasks))
    splits, behaviours = several(splits), several(behaviours)
    if episodes is not None:
        most = max((task.record.episodes for task in store.tasks.values()), default=0)
        episodes = indices_of(episodes, range(most), "episode")
    _check_known("task", tasks, store.tasks)
    _check_known("split", splits, SPLITS)
    policies = {entry.policy for task in store.tasks.values() for entry in task.record.behaviours}
    _check_known("behaviour", behaviours, policies)
    conditions = {
        "tasks": tasks if tasks is None else format_indices(tasks),
        "splits": splits if splits is None else ", ".join(splits),
        "behaviours": behaviours if behaviours is None else ", ".join(behaviours),
        "min_return": min_return,
        "episodes": episodes if episodes is None else format_indices(episodes),
    }
    mixtures: dict[int, list[BehaviourEntry]] = {}
    with building(target) as aside:
        candidates = {
            index: task
            for index, task in store.tasks.items()
            if (tasks is None or index in tasks) and (splits is None or task.split in splits)
        }
        for done, (index, task) in enumerate(candidates.items()):
            if on_progress is not None:
                on_progress(done, len(candidates))
            if behaviours is None and min_return is None and episodes is None:
                copy_task(store, task, aside)
                mixtures[index] = task.record.behaviours
                continue
            arrays = task.load()
            kept = np.flatnonzero(_chosen(task, arrays, behaviours, min_return, episodes)).tolist()
            if kept:
                arrays = arrays.take(kept)
                write_episodes(aside, task, task.record.behaviours, arrays, store.manifest)
                mixtures[index], _ = present(task.record.behaviours, arrays)
        if on_progress is not None:
            on_progress(len(candidates), len(candidates))
        if not mixtures:
            raise InvalidInputError(f"{store.path}: no episode passes: nothing was written")
        options = {option: value for option, value in conditions.items() if value is not None}
        manifest = description(dataset_name(target, store.name), store.manifest, mixtures)
        write_root(aside, manifest, store.provenance, edited=edit("select", options, [store]))
    return open_store(target)


def _chosen(
    task: StoredTask,
    arrays: TaskArrays,
    behaviours: Collection[str] | None,
    min_return: float | None,
    episodes: Collection[int] | None,
) -> NDArray[np.bool_]:
    """[E] which episodes pass."""
    chosen = np.ones(arrays.episodes, np.bool_)
    if behaviours is not None:
        passes = [entry.policy in behaviours for entry in task.record.behaviours]
        chosen &= np.asarray(passes)[arrays.episode_behaviour]
    if min_return is not None:
        chosen &= arrays.episode_return >= min_return
    if episodes is not None:
        chosen &= np.isin(np.arange(arrays.episodes), list(episodes))
    return chosen


def _check_known(kind: str, names: Collection[object] | None, known: Collection[object]) -> None:
    for name in names or ():
        if name not in known:
            choices = ", ".join(map(str, sorted(known, key=str)))
            meant = suggestion(str(name), map(str, known)) if isinstance(name, str) else ""
            raise NotFoundError(
                f"the store has no {kind} {name}; it has: {choices}{f': {meant}' if meant else ''}"
            )
