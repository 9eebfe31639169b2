"""Downloading a store, or some of its tasks, from the Hub.

A task becomes a part of the store when all its files are downloaded and have the digests of the published
root; until then they are in the staging folder, where the next call finds them. So whatever is interrupted,
the store holds whole tasks only, and records which are missing.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from clwm_data.disk import disk_errors
from clwm_data.errors import ConflictError, InvalidInputError
from clwm_data.families.base import SPLITS
from clwm_data.hub.fetch import HubSource
from clwm_data.hub.published import PublishedStore, find_one
from clwm_data.hub.reference import parse_reference
from clwm_data.paths import real_path, store_file
from clwm_data.ranges import IndexChoice, format_indices, indices_of, several
from clwm_data.store.atomic import move, move_folder
from clwm_data.store.cached import ArrivalCallback, check_space, download_task
from clwm_data.store.digest import file_sha256
from clwm_data.store.format import METADATA, STAGING, TASKS, task_folder
from clwm_data.store.lock import locked
from clwm_data.store.reader import Store, open_local
from clwm_data.store.root_writer import RootWriter
from clwm_data.store.validate import check_files

#: Folder in the staging folder that holds files until their task is complete.
DOWNLOADS = "download"


def pull(
    reference: str,
    out: str | Path | None = None,
    *,
    tasks: IndexChoice | None = None,
    splits: str | Iterable[str] | None = None,
    on_progress: ArrivalCallback | None = None,
) -> Store:
    """Download a store of the Hub, or some of its tasks, continuing where an earlier call ended.

    Args:
        reference: ``user/repo[@revision][/x.zarr]``, with or without ``hf://datasets/`` before it.
        out: folder of the store; ``data/NAME.zarr`` unless given. It may hold tasks of the same
            published store already.
        tasks: only these: their indices, one index, or text such as ``0-4,7``; others can follow later.
        splits: only tasks of these splits, or of this one.
        on_progress: called whenever a file has arrived.

    Returns:
        The store; its ``missing_tasks`` were not chosen, or were not published.

    Raises:
        NotFoundError: no such repository, revision or store.
        InvalidInputError: a task or a split that it does not have.
        ConflictError: ``out`` holds something else, or another process writes to it.
        DamagedDataError: what is published contradicts itself, or does not arrive as published.
        UnavailableError: the Hub cannot be reached, or the disk is full.
    """
    published = find_one(parse_reference(reference))
    folder = Path("data") / store_file(published.folder) if out is None else out
    return download(published, real_path(folder), tasks=tasks, splits=splits, on_progress=on_progress)


def download(
    published: PublishedStore,
    out: Path,
    *,
    tasks: IndexChoice | None = None,
    splits: str | Iterable[str] | None = None,
    on_progress: ArrivalCallback | None = None,
) -> Store:
    """As :func:`pull`, for a published store that has been looked up already."""
    chosen = choose_tasks(published, tasks, splits)
    with disk_errors(out, "it resumes"):
        _check_existing(out, published)
        with locked(out):
            _download_into(out, published, chosen, on_progress)
            shutil.rmtree(out / STAGING / DOWNLOADS, ignore_errors=True)
    return open_local(out)


def _download_into(
    out: Path, published: PublishedStore, chosen: Sequence[int], on_progress: ArrivalCallback | None
) -> None:
    # The new root will list every task in the folder, not only those chosen now.
    needed = sorted({*chosen, *_existing_indices(out)})
    absent = [index for index in needed if not _is_sound(out, published, index)]
    for index in absent:  # before anything is downloaded
        HubSource(published).files(index)
    total = sum(file.bytes for index in absent for file in published.records[index].files.values())
    check_space(out, total)

    def arrived(size: int) -> None:
        if on_progress is not None:
            on_progress(size, total)

    arrived(0)
    for index in absent:
        _take_out(out, index)
    if not absent and _has_origin(out, published):
        return
    record = published.root.record
    root = RootWriter(out, record.manifest, record.provenance, published.origin, record.edited)
    with root.adding():
        for index in absent:
            _download_task(out, published, index, arrived)
            root.add(index)


def _has_origin(out: Path, published: PublishedStore) -> bool:
    """Whether the root records this published store as its origin."""
    origin = open_local(out).origin
    return origin is not None and origin.root_sha256 == published.root.record.root_sha256


def choose_tasks(
    published: PublishedStore, tasks: IndexChoice | None, splits: str | Iterable[str] | None
) -> tuple[int, ...]:
    """The published tasks that are selected, ascending.

    Raises:
        InvalidInputError: it names a task or a split that the store does not have, or no task is selected.
    """
    chosen = published.indices if tasks is None else indices_of(tasks, published.indices)
    for index in chosen:
        if index not in published.records:
            raise InvalidInputError(
                f"{published}: has no task {index}; it has {format_indices(published.indices)}"
            )
    if (splits := several(splits)) is not None:
        available = [split for split in SPLITS if split in {r.split for r in published.records.values()}]
        for split in splits:
            if split not in available:
                raise InvalidInputError(
                    f"{published}: has no tasks of split {split!r}; it has {', '.join(available)}"
                )
        chosen = tuple(index for index in chosen if published.records[index].split in splits)
    if not (result := tuple(sorted(chosen))):
        raise InvalidInputError(f"{published}: no task is in both the chosen tasks and the chosen splits")
    return result


def _check_existing(out: Path, published: PublishedStore) -> None:
    """Refuse a folder that is not a store, or that holds another store or another version of this one."""
    if out.exists() and not out.is_dir():
        raise ConflictError(f"{out}: is a file: choose another --out")
    if not (out / METADATA).is_file():
        if out.exists() and any(path.name != STAGING for path in out.iterdir()):
            raise ConflictError(f"{out}: is a folder but not a store: choose another --out")
        return
    existing = open_local(out)
    for index in _existing_indices(out):
        if index not in published.records:
            raise ConflictError(
                f"{out}: holds task {index}, which {published} does not have: choose another --out"
            )
    if existing.name != published.root.record.manifest.name:
        raise ConflictError(f"{out}: holds the dataset {existing.name}: choose another --out")
    for key, digest in existing.record.tasks.items():
        if published.root.record.tasks.get(key) != digest:
            raise ConflictError(
                f"{out}: holds another version of {published} (task {key} differs): choose another --out"
            )


def _existing_indices(out: Path) -> list[int]:
    """Tasks that have a folder in the store, whether the root lists them yet or not."""
    folders = (out / TASKS).iterdir() if (out / TASKS).is_dir() else ()
    return [int(folder.name) for folder in folders if folder.is_dir() and folder.name.isdecimal()]


def _is_sound(out: Path, published: PublishedStore, index: int) -> bool:
    """Whether a task on disk is complete and as published, without other files."""
    folder = out / TASKS / task_folder(index)
    group = folder / METADATA
    return (
        group.is_file()
        and file_sha256(group) == published.root.record.tasks[str(index)]
        and not any(check_files(folder, published.records[index]))
    )


def _take_out(out: Path, index: int) -> None:
    """Move a damaged task, if there is one, to the downloads, where its intact files are reused."""
    target, part = out / TASKS / task_folder(index), out / STAGING / DOWNLOADS / task_folder(index)
    if target.exists():
        shutil.rmtree(part, ignore_errors=True)
        part.parent.mkdir(exist_ok=True)
        move(target, part)


def _download_task(
    out: Path, published: PublishedStore, index: int, arrived: Callable[[int], object]
) -> None:
    part, target = out / STAGING / DOWNLOADS / task_folder(index), out / TASKS / task_folder(index)
    download_task(published.root, index, HubSource(published), part, arrived)
    target.parent.mkdir(exist_ok=True)
    move_folder(part, target)
