"""Checking a store: every byte against its digest, and every value against what it must be."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from clwm_data.bounded import read_bounded
from clwm_data.errors import ClwmError, DamagedDataError
from clwm_data.families import TaskFamily
from clwm_data.pages.numbers import plural
from clwm_data.store.checks import check_arrays
from clwm_data.store.digest import document_sha256, file_sha256
from clwm_data.store.format import METADATA, STAGING, TASKS, TaskRecord, task_folder
from clwm_data.store.litter import is_litter, task_files
from clwm_data.store.reader import Store, open_local
from clwm_data.store.root import json_or_none
from clwm_data.store.soundness import Finding

#: How often the check is repeated while other processes replace the store.
ATTEMPTS = 5

#: Each thread holds one task in memory.
MOST_THREADS = 2


def validate(path: Path | str, on_progress: Callable[[int], object] | None = None) -> list[Finding]:
    """Check a whole store; an empty list means that it is sound. ``on_progress`` is called with the index of
    each task that was checked.

    Compares every file with its digest, the metadata with itself, the episode index with the flags, values
    with their ranges, statistics with the data, and the tasks with the family. Segments of a collection that
    is still running, and files that a user put beside ``tasks``, are not a part of the store and not checked.

    Raises:
        ClwmError: there is no store, or it has another format version.
    """
    for _ in range(ATTEMPTS):
        store = open_local(Path(path))
        findings = _findings(store, on_progress)
        if not findings or read_bounded(store.path / METADATA) == store.root.text:
            break  # else another process replaced the store meanwhile, and parts of two were compared
    return findings


def _findings(store: Store, on_progress: Callable[[int], object] | None) -> list[Finding]:
    findings = list(_check_root(store))
    family = store.known_family
    indices = sorted(int(key) for key in store.record.tasks)
    # Threads: hashing and decoding, which take most of the time, let others run.
    pool = ThreadPoolExecutor(min(MOST_THREADS, os.cpu_count() or 1))
    try:
        for index, found in zip(
            indices, pool.map(lambda index: list(_check_task(store, index, family)), indices), strict=True
        ):
            findings += found
            if on_progress is not None:
                on_progress(index)
    finally:
        pool.shutdown(cancel_futures=True)
    return findings


def _check_root(store: Store) -> Iterator[Finding]:
    where = f"{store.path}/{METADATA}"
    try:
        store.root.verify(str(store.path))
    except DamagedDataError as error:
        yield Finding(where, str(error).removeprefix(f"{where}: "))
    for key, node in store.root.nodes.items():
        file = store.path / key / METADATA
        if not file.is_file():
            yield Finding(str(file), "is missing")
        elif json_or_none(file) != node:
            yield Finding(str(file), "differs from the consolidated metadata in the root")
    expected = {task_folder(int(key)) for key in store.record.tasks} | {METADATA}
    collecting = (store.path / STAGING).exists()
    for entry in sorted(_entries(store.path / TASKS)):
        if entry.name not in expected and not collecting:
            yield Finding(str(entry), "is not a part of the store: it is not in the root's index")


def _check_task(store: Store, index: int, family: TaskFamily | None) -> Iterator[Finding]:
    folder = store.path / TASKS / task_folder(index)
    if not (folder / METADATA).is_file():
        yield Finding(str(folder / METADATA), "is missing")
        return
    if document_sha256(folder / METADATA) != store.record.tasks[str(index)]:
        yield Finding(str(folder / METADATA), "was altered: it differs from its digest in the root")
    try:
        task = store.tasks[index]
    except ClwmError as error:
        yield Finding(str(folder), str(error))
        return
    damaged = list(check_files(folder, task.record))
    yield from damaged
    if damaged:
        return  # what damaged bytes decode to would only obscure the cause
    try:
        arrays = task.load(verify=False)
    except ClwmError as error:
        yield Finding(str(folder), str(error))
        return
    yield from check_arrays(f"{store.path}: task {index}", task, arrays, family)


def check_files(folder: Path, record: TaskRecord) -> Iterator[Finding]:
    """Compare the files of a task's group, but for its own ``zarr.json``, with their sizes and digests."""
    findings = list(listed_files(folder, record))
    yield from findings
    wrong = {finding.where for finding in findings}
    for name, expected in record.files.items():
        file = folder / name
        if str(file) not in wrong and file_sha256(file) != expected.sha256:
            yield Finding(str(file), "was altered: it differs from its digest")


def listed_files(folder: Path, record: TaskRecord) -> Iterator[Finding]:
    """Compare the files of a task's group, but for its own ``zarr.json``, with their names and sizes."""
    files = {path.relative_to(folder).as_posix(): path for path in task_files(folder)}
    files.pop(METADATA, None)
    for name, expected in record.files.items():
        file = files.pop(name, None)
        if file is None:
            yield Finding(str(folder / name), "is missing")
        elif file.stat().st_size != expected.bytes:
            yield Finding(str(file), f"has {plural(file.stat().st_size, 'byte')}, expected {expected.bytes}")
    for name in files:
        yield Finding(str(folder / name), "is not a part of the store: remove it")


def _entries(folder: Path) -> Iterator[Path]:
    return (path for path in folder.iterdir() if not is_litter(path)) if folder.is_dir() else iter(())
