"""Stores that are made from other stores: built aside, moved into place when they are complete."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

from clwm_data.disk import disk_errors
from clwm_data.errors import ConflictError, DamagedDataError
from clwm_data.families.base import Task
from clwm_data.manifest import BehaviourEntry, Manifest
from clwm_data.paths import target_path
from clwm_data.store.arrays import TaskArrays
from clwm_data.store.atomic import move_folder
from clwm_data.store.format import METADATA, STAGING, TASKS, Edit, Operation, Source, task_folder
from clwm_data.store.litter import carry_over
from clwm_data.store.lock import locked
from clwm_data.store.provenance import current_provenance
from clwm_data.store.reader import Store
from clwm_data.store.replacement import (
    beside,
    clear,
    put_in_place,
    remove_if_empty,
    remove_replaced,
    replace_store,
)
from clwm_data.store.stored_task import StoredTask
from clwm_data.store.validate import check_files
from clwm_data.store.writer import write_task


@contextmanager
def building(target: Path | str) -> Iterator[Path]:
    """A folder beside ``target`` to write into, moved there when the block ends without an error.

    Args:
        target: where the store is to be; nothing is there yet.

    Raises:
        InvalidInputError: ``target`` is no place for a store.
        ConflictError: there is something at ``target`` already, or another process is making it.
        UnavailableError: the disk is full, or write-protected.
    """
    place = target_path(target)
    _check_free(place, target)
    aside = beside(place, "building")
    with disk_errors(place, "nothing was changed"):
        try:
            with locked(aside, name=str(target)) as lock:
                _check_free(place, target)  # a process that held the lock before may have made it
                clear(aside)
                try:
                    yield aside
                    put_in_place(lock, place)
                except BaseException:
                    clear(aside)
                    raise
        finally:
            remove_if_empty(aside)


@contextmanager
def rebuilding(store: Path) -> Iterator[Path]:
    """A folder beside a store to write another one into, which takes its place when the block ends.

    Files that a user put into the store's folder are carried over.

    Args:
        store: its real path.

    Raises:
        ConflictError: another process writes to the store, or something foreign lies among its tasks.
        UnavailableError: the disk is full, or write-protected.
    """
    aside = beside(store, "building")
    with disk_errors(store, "nothing was changed"), locked(store) as old:
        try:
            with locked(aside) as new:
                remove_replaced(store)
                clear(aside)
                try:
                    yield aside
                    carry_over(store, aside)
                    replace_store(old, new)
                except BaseException:
                    clear(aside)
                    raise
        finally:
            remove_if_empty(aside)


def _check_free(place: Path, target: Path | str) -> None:
    if place.exists():
        raise ConflictError(f"{target}: is there already: choose another name, or remove it first")


def copy_task(source: Store, task: StoredTask, target: Path, *, link: bool = False) -> None:
    """Copy a task as it is, its bytes checked.

    Args:
        source: the store.
        task: of that store.
        target: the store being built.
        link: give the files another name instead of copying them, where the file system can; for a source
            that is replaced.

    Raises:
        DamagedDataError: a file of the task is missing or damaged.
        OSError: the disk is full.
    """
    folder = source.path / TASKS / task_folder(task.index)
    for finding in check_files(folder, task.record):
        raise DamagedDataError(f"{finding}: `clwm validate` shows all that is wrong")
    copy = target / STAGING / f"{folder.name}.partial"
    for name in (METADATA, *task.record.files):
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        _copy_file(folder / name, copy / name, link=link)
    (target / TASKS).mkdir(exist_ok=True)
    move_folder(copy, target / TASKS / folder.name)


def _copy_file(source: Path, target: Path, *, link: bool) -> None:
    """The content alone: the copy of a write-protected file can be written to, and removed."""
    if link:
        with suppress(OSError):  # no hard links there: exFAT, FUSE, two file systems
            os.link(source, target)
            return
    shutil.copyfile(source, target)


def write_episodes(
    target: Path, task: StoredTask, mixture: list[BehaviourEntry], arrays: TaskArrays, manifest: Manifest
) -> None:
    """Write a task with other episodes; entries of the mixture that made none of them are left out."""
    entries, index = present(mixture, arrays)
    arrays = TaskArrays(**{**vars(arrays), "episode_behaviour": index})
    write_task(target, Task(task.index, task.split, task.parameters), entries, arrays, manifest.storage)


def present(
    mixture: list[BehaviourEntry], arrays: TaskArrays
) -> tuple[list[BehaviourEntry], np.ndarray[tuple[int], np.dtype[np.int16]]]:
    """The entries that made some of the episodes, with their numbers, and ``episode_behaviour`` into them."""
    counts = np.bincount(arrays.episode_behaviour, minlength=len(mixture))
    entries = [entry.counted(int(count)) for entry, count in zip(mixture, counts, strict=True) if count]
    renumbered = (np.cumsum(counts > 0) - 1).astype(np.int16)
    return entries, renumbered[arrays.episode_behaviour]


def description(name: str, first: Manifest, mixtures: Mapping[int, list[BehaviourEntry]]) -> Manifest:
    """The manifest of an edited store, which describes it.

    Args:
        name: of the dataset.
        first: all else is as in this manifest.
        mixtures: task -> mixture; the manifest's has all their entries, each with its largest number.
    """
    entries: dict[str, BehaviourEntry] = {}
    for mixture in mixtures.values():
        for entry in mixture:
            key = policy_key(entry)
            if key not in entries or entries[key].most_episodes < entry.most_episodes:
                entries[key] = entry
    values = first.model_dump()
    values["name"] = name
    values["tasks"] = sorted(mixtures)
    values["hub"] = None
    values["behaviours"] = [entry.model_dump() for entry in entries.values()]
    return Manifest.model_validate(values)


def policy_key(entry: BehaviourEntry) -> str:
    """What an entry is, whatever the number of its episodes."""
    return entry.counted(1).model_dump_json()


def edit(operation: Operation, options: Mapping[str, object], sources: list[Store]) -> Edit:
    """The record of an edit by this process."""
    return Edit(
        operation=operation,
        options={name: str(value) for name, value in options.items()},
        by=current_provenance(),
        sources=[
            Source(
                name=store.name,
                content_sha256=store.record.content_sha256,
                manifest=store.manifest,
                provenance=store.provenance,
                edited=store.record.edited,
            )
            for store in sources
        ],
    )
