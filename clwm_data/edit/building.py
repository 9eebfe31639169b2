"""Stores that are made from other stores: built aside, moved into place when they are complete."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from clwm_data.errors import ClwmError
from clwm_data.families.base import Task
from clwm_data.manifest import BehaviourEntry, Manifest
from clwm_data.store.arrays import TaskArrays
from clwm_data.store.atomic import move_folder
from clwm_data.store.format import STAGING, TASKS, Edit, Operation, Source, task_folder
from clwm_data.store.lock import locked
from clwm_data.store.provenance import current_provenance
from clwm_data.store.reader import Store, StoredTask
from clwm_data.store.replacement import replace_store
from clwm_data.store.validate import check_files
from clwm_data.store.writer import write_task


@contextmanager
def building(target: Path, *, replace: bool = False) -> Iterator[Path]:
    """A folder beside ``target`` to write a store into, moved there when the block ends without an error.

    Args:
        target: where the store is to be.
        replace: take the place of the store that is there.

    Raises:
        ClwmError: there is something at ``target`` already, another process builds the same store, or the
            disk is full.
    """
    aside = target.with_name(f".{target.name}.building")
    if not replace and target.exists():
        raise ClwmError(f"{target}: is there already: choose another name, or remove it first")
    try:
        with locked(target if replace else aside):
            _clear(aside)
            try:
                yield aside
                if replace:
                    replace_store(target, aside)
            except BaseException:
                shutil.rmtree(aside)
                raise
        if not replace:
            aside.rename(target)
    except OSError as error:
        mend = "free space" if error.errno == errno.ENOSPC else "mend it"
        raise ClwmError(
            f"{error.filename or target}: {error.strerror or error}: {mend} and run the same command again; "
            "nothing was changed"
        ) from error


def _clear(aside: Path) -> None:
    """An empty folder, whatever a killed process left in it; but for the lock."""
    aside.mkdir(parents=True, exist_ok=True)
    for path in aside.iterdir():
        if path.name != STAGING:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    for path in aside.glob(f"{STAGING}/*.partial"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def copy_task(source: Store, task: StoredTask, target: Path, *, link: bool = False) -> None:
    """Copy a task as it is, its bytes checked.

    Args:
        source: the store.
        task: of that store.
        target: the store being built.
        link: give the files another name instead of copying them; for a source that is replaced.

    Raises:
        ClwmError: a file of the task is missing or damaged.
    """
    folder = source.path / TASKS / task_folder(task.index)
    for finding in check_files(folder, task.record):
        raise ClwmError(f"{finding}: `clwm validate` shows all that is wrong")
    building = target / STAGING / f"{folder.name}.partial"
    shutil.copytree(folder, building, copy_function=os.link if link else shutil.copy2)
    (target / TASKS).mkdir(exist_ok=True)
    move_folder(building, target / TASKS / folder.name)


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


def description(target: Path, first: Manifest, mixtures: Mapping[int, list[BehaviourEntry]]) -> Manifest:
    """The manifest of an edited store, which describes it.

    Args:
        target: its folder gives the dataset's name.
        first: all else is as in this manifest.
        mixtures: task -> mixture; the manifest's has all their entries, each with its largest number.

    Raises:
        ClwmError: the folder's name cannot be the name of a dataset.
    """
    entries: dict[str, BehaviourEntry] = {}
    for mixture in mixtures.values():
        for entry in mixture:
            key = policy_key(entry)
            if key not in entries or entries[key].most_episodes < entry.most_episodes:
                entries[key] = entry
    values = first.model_dump()
    values["name"] = target.name.removesuffix(".zarr")
    values["tasks"] = sorted(mixtures)
    values["hub"] = None
    values["behaviours"] = [entry.model_dump() for entry in entries.values()]
    try:
        return Manifest.model_validate(values)
    except ValueError as error:
        raise ClwmError(
            f"{target.name}: cannot be the name of a store: use letters, digits, . _ -"
        ) from error


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
