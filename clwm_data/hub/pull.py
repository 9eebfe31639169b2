"""Downloading a store, or some of its tasks, from the Hub.

A task becomes a part of the store when all its files are there and have the digests of the published root;
until then they lie in the staging folder, where the next call finds them. So whatever is interrupted, the
store holds whole tasks only, and says which it lacks.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path

from clwm_data.disk import disk_errors
from clwm_data.errors import ClwmError
from clwm_data.families.base import SPLITS
from clwm_data.hub.fetch import fetch_task, task_files
from clwm_data.hub.published import PublishedStore
from clwm_data.ranges import format_indices, parse_indices
from clwm_data.store.atomic import move, move_folder
from clwm_data.store.digest import file_sha256
from clwm_data.store.format import METADATA, STAGING, TASKS, task_folder
from clwm_data.store.lock import locked
from clwm_data.store.reader import Store, open_local
from clwm_data.store.root_writer import write_root
from clwm_data.store.validate import check_files

#: Called with (bytes newly there, bytes needed in all).
Progress = Callable[[int, int], object]

#: Folder in the staging folder that holds files until their task is complete.
DOWNLOADS = "download"


def pull(
    published: PublishedStore,
    out: Path,
    *,
    tasks: str | Collection[int] | None = None,
    splits: Sequence[str] | None = None,
    progress: Progress | None = None,
) -> Store:
    """Download a published store, continuing what an earlier call left.

    Args:
        published: what to download.
        out: folder of the store; tasks of the same published store may be there already.
        tasks: only these, e.g. ``0-4,7``; others can follow later.
        splits: only tasks of these splits.
        progress: called whenever a file is there.

    Returns:
        The store; its ``missing_tasks`` were not chosen, or are not in the published store.

    Raises:
        ClwmError: a wrong choice, ``out`` holds something else, another process writes to it, the disk is
            full, or a file cannot be had as published.
    """
    chosen = choose_tasks(published, tasks, splits)
    with disk_errors(out, "it resumes"):
        _check_existing(out, published)
        with locked(out):
            _pull_into(out, published, chosen, progress)
            shutil.rmtree(out / STAGING / DOWNLOADS, ignore_errors=True)
    return open_local(out)


def _pull_into(
    out: Path, published: PublishedStore, chosen: Sequence[int], progress: Progress | None
) -> None:
    # The root is about to vouch for every task that is there, not only for those chosen now.
    wanted = sorted({*chosen, *_indices_there(out)})
    absent = [index for index in wanted if not _is_sound(out, published, index)]
    total = sum(file.bytes for index in absent for file in task_files(published, index).values())
    free = shutil.disk_usage(out).free
    if total > free:
        raise ClwmError(f"{out}: needs {total} bytes, the disk has {free}: free space, or choose fewer tasks")

    def arrived(size: int) -> None:
        if progress is not None:
            progress(size, total)

    arrived(0)
    taken_out = [index for index in absent if _take_out(out, index)]
    if taken_out or not (out / METADATA).is_file():
        _write_root(out, published)
    for index in absent:
        _pull_task(out, published, index, arrived)
    origin = open_local(out).origin
    if origin is None or origin.root_sha256 != published.root.record.root_sha256:
        _write_root(out, published)


def choose_tasks(
    published: PublishedStore, tasks: str | Collection[int] | None, splits: Sequence[str] | None
) -> tuple[int, ...]:
    """The published tasks that a selection means, ascending.

    Raises:
        ClwmError: it names a task or a split that the store does not have, or nothing is left.
    """
    if isinstance(tasks, str):
        chosen: Iterable[int] = parse_indices(tasks, published.indices)
    else:
        chosen = published.indices if tasks is None else tasks
    for index in chosen:
        if index not in published.records:
            raise ClwmError(f"{published}: has no task {index}; it has {format_indices(published.indices)}")
    if splits is not None:
        there = [split for split in SPLITS if split in {r.split for r in published.records.values()}]
        for split in splits:
            if split not in there:
                raise ClwmError(f"{published}: has no tasks of split {split!r}; it has {', '.join(there)}")
        chosen = [index for index in chosen if published.records[index].split in splits]
    if not (result := tuple(sorted(chosen))):
        raise ClwmError(f"{published}: no task is in both the chosen tasks and the chosen splits")
    return result


def _check_existing(out: Path, published: PublishedStore) -> None:
    """Refuse to touch what is not a store, or to mix two stores or two versions of one."""
    if out.exists() and not out.is_dir():
        raise ClwmError(f"{out}: is a file: choose another --out")
    if not (out / METADATA).is_file():
        if out.exists() and any(path.name != STAGING for path in out.iterdir()):
            raise ClwmError(f"{out}: is a folder but not a store: choose another --out")
        return
    there = open_local(out)
    for index in _indices_there(out):
        if index not in published.records:
            raise ClwmError(
                f"{out}: holds task {index}, which {published} does not have: choose another --out"
            )
    if there.name != published.root.record.manifest.name:
        raise ClwmError(f"{out}: holds the dataset {there.name}: choose another --out")
    for key, digest in there.record.tasks.items():
        if published.root.record.tasks.get(key) != digest:
            raise ClwmError(
                f"{out}: holds another version of {published} (task {key} differs): choose another --out"
            )


def _indices_there(out: Path) -> list[int]:
    """Tasks that have a folder in the store, whether the root lists them yet or not."""
    folders = (out / TASKS).iterdir() if (out / TASKS).is_dir() else ()
    return [int(folder.name) for folder in folders if folder.is_dir() and folder.name.isdecimal()]


def _is_sound(out: Path, published: PublishedStore, index: int) -> bool:
    """Whether a task is complete on disk, as published."""
    folder = out / TASKS / task_folder(index)
    group = folder / METADATA
    return (
        group.is_file()
        and file_sha256(group) == published.root.record.tasks[str(index)]
        and not any(check_files(folder, published.records[index]))
    )


def _take_out(out: Path, index: int) -> bool:
    """Move a damaged task, if it is there, to the downloads, where its sound files are used again."""
    target, download = out / TASKS / task_folder(index), out / STAGING / DOWNLOADS / task_folder(index)
    if not target.exists():
        return False
    shutil.rmtree(download, ignore_errors=True)
    download.parent.mkdir(exist_ok=True)
    move(target, download)
    return True


def _pull_task(out: Path, published: PublishedStore, index: int, arrived: Callable[[int], object]) -> None:
    folder = fetch_task(published, index, out / STAGING / DOWNLOADS, arrived)
    target = out / TASKS / task_folder(index)
    target.parent.mkdir(exist_ok=True)
    move_folder(folder, target)
    _write_root(out, published)


def _write_root(out: Path, published: PublishedStore) -> None:
    record = published.root.record
    write_root(out, record.manifest, record.provenance, published.origin, record.edited)
