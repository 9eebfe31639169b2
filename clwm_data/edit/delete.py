"""A store without some of its episodes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from clwm_data.edit.building import copy_task, description, edit, present, rebuilding, write_episodes
from clwm_data.errors import InvalidInputError, NotFoundError
from clwm_data.opening import open_store
from clwm_data.paths import real_path
from clwm_data.ranges import IndexChoice, format_indices, indices_of
from clwm_data.store.reader import Store
from clwm_data.store.root_writer import write_root
from clwm_data.yaml_values import shown


def delete_episodes(path: Path | str | Store, episodes: Mapping[int, IndexChoice]) -> Store:
    """Remove episodes from a store, in place.

    The new store is built beside the old one (tasks that do not change share their files with it) and takes
    its place when it is complete. Later episodes are renumbered.

    Args:
        path: the store.
        episodes: task -> numbers of its episodes to remove, from 0; one number, or text such as ``0-4,7``.

    Raises:
        NotFoundError: no such store, or a task or an episode that it does not have.
        InvalidInputError: no episode is named, in numbers or such text, or a task would have none left.
        ConflictError: another process writes to the store.
        DamagedDataError: the store is damaged.
        UnavailableError: the disk is full, or write-protected.
    """
    place = real_path(path.path if isinstance(path, Store) else path)
    open_store(place)  # a folder that is not a store is not locked
    with rebuilding(place) as aside:
        store = open_store(place)
        chosen = _chosen(store, episodes)
        mixtures = {}
        for index, task in store.tasks.items():
            if not chosen.get(index):
                copy_task(store, task, aside, link=True)
                mixtures[index] = task.record.behaviours
                continue
            arrays = task.load()
            arrays = arrays.take([e for e in range(arrays.episodes) if e not in chosen[index]])
            write_episodes(aside, task, task.record.behaviours, arrays, store.manifest)
            mixtures[index], _ = present(task.record.behaviours, arrays)
        options = {f"task {index}": format_indices(numbers) for index, numbers in chosen.items()}
        manifest = description(store.name, store.manifest, mixtures)
        write_root(aside, manifest, store.provenance, edited=edit("delete-episodes", options, [store]))
    return open_store(place)


def _chosen(store: Store, episodes: Mapping[int, IndexChoice]) -> dict[int, tuple[int, ...]]:
    """The episodes to remove of each task, once it is known that it has them."""
    chosen: dict[int, tuple[int, ...]] = {}
    for index, choice in episodes.items():
        if index not in store.tasks:
            raise NotFoundError(
                f"{store.path}: has no task {shown(index)}; it has {format_indices(store.tasks)}"
            )
        count = store.tasks[index].record.episodes
        chosen[index] = numbers = indices_of(choice, range(count), "episode")
        for number in numbers:
            if not 0 <= number < count:
                raise NotFoundError(
                    f"{store.path}: task {index} has no episode {number}: it has 0 to {count - 1}"
                )
        if len(numbers) == count:
            raise InvalidInputError(
                f"{store.path}: task {index} would have no episode left: "
                "`clwm select` makes a store without the task"
            )
    if not any(chosen.values()):
        raise InvalidInputError(f"{store.path}: no episodes to delete were named")
    return chosen
