"""Making stores from other stores: built aside, and moved into place when they are complete."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from clwm_data.bounded import open_file, read_bounded
from clwm_data.disk import disk_errors
from clwm_data.errors import ClwmError, ConflictError, DamagedDataError, InvalidInputError
from clwm_data.families.base import Task
from clwm_data.manifest import BehaviourEntry, Manifest
from clwm_data.paths import target_path
from clwm_data.store.arrays import TaskArrays
from clwm_data.store.atomic import move_folder
from clwm_data.store.digest import file_sha256
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
from clwm_data.store.validate import check_names
from clwm_data.store.writer import write_task
from clwm_data.strict import first_mistake

#: Copied at a time.
BLOCK_BYTES = 2**20


@contextmanager
def building(target: Path | str) -> Iterator[Path]:
    """A folder beside ``target`` to write into, moved there when the block ends without an error.

    Args:
        target: folder of the new store, which does not exist yet.

    Raises:
        InvalidInputError: ``target`` cannot be the folder of a store.
        ConflictError: ``target`` exists already, or another process is making it.
        UnavailableError: the disk is full, or write-protected.
    """
    place = target_path(target)
    _check_free(place, target)
    aside = beside(place, "building")
    made = [folder for folder in place.parents if not folder.exists()]
    with disk_errors(place, "nothing was changed"):
        try:
            with locked(aside, name=str(target)) as lock:
                _check_free(place, target)  # the previous holder of the lock may have made it
                clear(aside)
                try:
                    yield aside
                    put_in_place(lock, place)
                except BaseException:
                    clear(aside)
                    raise
        finally:
            remove_if_empty(aside)
            if not place.exists():
                for folder in made:  # of parents, too, nothing is left
                    with suppress(OSError):
                        folder.rmdir()


@contextmanager
def rebuilding(store: Path) -> Iterator[Path]:
    """A folder beside a store to write its replacement into, which takes its place when the block ends.

    Files that a user put into the store's folder are carried over.

    Args:
        store: its real path.

    Raises:
        ConflictError: another process writes to the store, or there is a foreign file among its tasks.
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
    """Copy a task unchanged, after checking its files and its values.

    Args:
        source: the store that holds the task.
        task: the task.
        target: folder of the store being built.
        link: make hard links instead of copies, where the file system can; for a source that will be
            replaced.

    Raises:
        DamagedDataError: a file of the task is missing or damaged, or it holds what no sound store does.
        ConflictError: the source was replaced meanwhile.
        OSError: the disk is full.
    """
    task.load()
    folder = source.path / TASKS / task_folder(task.index)
    for finding in check_names(folder, task.record):
        raise DamagedDataError(f"{finding}: `clwm validate` shows all that is wrong")
    copy = target / STAGING / f"{folder.name}.partial"
    digests = {name: file.sha256 for name, file in task.record.files.items()}
    for name, sha256 in {METADATA: source.record.tasks[str(task.index)], **digests}.items():
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        # What was copied is compared, not the source: that may be replaced at any time.
        if _copy_file(folder / name, copy / name, link=link) != sha256:
            raise _changed(source, folder / name)
    (target / TASKS).mkdir(exist_ok=True)
    move_folder(copy, target / TASKS / folder.name)


def _changed(source: Store, file: Path) -> ClwmError:
    """Why a file is not what the store said when it was opened."""
    root = source.path / METADATA  # a store in the cache has none until all of it is there
    if root.is_file() and read_bounded(root) != source.root.text:
        return ConflictError(f"{source.path}: was replaced while it was being read: run the command again")
    return DamagedDataError(
        f"{file}: was altered: it differs from its digest: `clwm validate` shows all that is wrong"
    )


def _copy_file(source: Path, target: Path, *, link: bool) -> str:
    """Copy the content alone: the copy of a write-protected file can be written to and removed.

    Returns:
        sha-256 of what is there now.
    """
    if link:
        with suppress(OSError):  # no hard links: exFAT, FUSE, or two file systems
            os.link(source, target)
            return file_sha256(target)
    digest = hashlib.sha256()
    with open_file(source) as reading, target.open("wb") as writing:
        while block := reading.read(BLOCK_BYTES):
            digest.update(block)
            writing.write(block)
    return digest.hexdigest()


def write_episodes(
    target: Path, task: StoredTask, mixture: list[BehaviourEntry], arrays: TaskArrays, manifest: Manifest
) -> None:
    """Write a task with new episodes, without entries of the mixture that collected none of them."""
    entries, index = present(mixture, arrays)
    arrays = TaskArrays(**{**vars(arrays), "episode_behaviour": index})
    write_task(target, Task(task.index, task.split, task.parameters), entries, arrays, manifest.storage)


def present(
    mixture: list[BehaviourEntry], arrays: TaskArrays
) -> tuple[list[BehaviourEntry], np.ndarray[tuple[int], np.dtype[np.int16]]]:
    """The entries that collected any of the episodes, with their counts, and new ``episode_behaviour``."""
    counts = np.bincount(arrays.episode_behaviour, minlength=len(mixture))
    entries = [entry.counted(int(count)) for entry, count in zip(mixture, counts, strict=True) if count]
    renumbered = (np.cumsum(counts > 0) - 1).astype(np.int16)
    return entries, renumbered[arrays.episode_behaviour]


def description(name: str, first: Manifest, mixtures: Mapping[int, list[BehaviourEntry]]) -> Manifest:
    """The manifest that describes an edited store.

    Args:
        name: of the dataset.
        first: manifest that everything else is taken from.
        mixtures: task -> mixture; the manifest lists all their entries, each with its largest count.
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


def distinct(texts: Iterable[str | None]) -> list[str]:
    """Each text once, in order, without empty and missing ones."""
    return list(dict.fromkeys(text for text in texts if text))


def manifest_of(where: object, **values: object) -> Manifest:
    """The manifest of data that were not collected.

    Raises:
        InvalidInputError: they cannot be described by one; it begins with ``where``.
    """
    try:
        return Manifest.model_validate(values)
    except ValidationError as error:
        mistake = first_mistake(error)
        if error.errors()[0]["loc"][:1] == ("family",):
            mistake = f"{values['family']!r}: cannot be the name of a family: use letters, digits, . _ -"
        raise InvalidInputError(f"{where}: {mistake}") from error


def policy_key(entry: BehaviourEntry) -> str:
    """Key of a behaviour, whatever the number of its episodes."""
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
