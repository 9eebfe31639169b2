"""Checking a store: every byte against its digest, and every value against what it must be."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from clwm_data.bounded import read_bounded
from clwm_data.errors import ClwmError, DamagedDataError
from clwm_data.families import TaskFamily
from clwm_data.pages.numbers import plural
from clwm_data.store.checks import check_arrays
from clwm_data.store.data_file import DataFile, Scratch
from clwm_data.store.digest import document_sha256
from clwm_data.store.format import METADATA, STAGING, TASKS, TaskRecord, task_folder
from clwm_data.store.litter import is_litter, task_files
from clwm_data.store.reader import Store, open_local
from clwm_data.store.root import json_or_none
from clwm_data.store.soundness import Finding

#: How often the check is repeated while other processes replace the store.
ATTEMPTS = 5

#: Each thread holds one task in memory.
MOST_THREADS = 2

#: Larger tasks are read twice, file by file: the sizes that files state may be those of a stranger's holes.
KEPT_BYTES = 2**30


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
    family = store.known_family
    indices = sorted(int(key) for key in store.record.tasks)
    nodes: dict[str, dict[str, Any]] = {task_folder(index): {} for index in indices}
    others: dict[str, Any] = {}
    for key, node in store.root.nodes.items():
        _, folder, path = (*f"{key}/{METADATA}".split("/", 2), "")[:3]
        if folder in nodes:
            nodes[folder][path] = node
        else:
            others[f"{key}/{METADATA}"] = node
    findings = [*_check_root(store), *_check_nodes(store.path, others, {})]
    memory = threading.local()

    def prepare() -> None:
        memory.scratch = Scratch()

    def check(index: int) -> list[Finding]:
        return list(_check_task(store, index, nodes[task_folder(index)], family, memory.scratch))

    # Threads: hashing and decoding, which take most of the time, let others run.
    pool = ThreadPoolExecutor(min(MOST_THREADS, os.cpu_count() or 1), initializer=prepare)
    try:
        for index, found in zip(indices, pool.map(check, indices), strict=True):
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
    expected = {task_folder(int(key)) for key in store.record.tasks} | {METADATA}
    collecting = (store.path / STAGING).exists()
    for entry in sorted(_entries(store.path / TASKS)):
        if entry.name not in expected and not collecting:
            yield Finding(str(entry), "is not a part of the store: it is not in the root's index")


def _check_nodes(folder: Path, nodes: Mapping[str, Any], opened: Mapping[str, DataFile]) -> Iterator[Finding]:
    """Compare metadata files with their copies in the root.

    Args:
        folder: that the others lie in.
        nodes: path of a ``zarr.json`` below the folder -> its content in the root.
        opened: files that have been read, by their paths below the folder.
    """
    for name, node in nodes.items():
        content = opened[name].content if name in opened else None
        path = folder / name if content is None else opened[name].path
        if content is None and not path.is_file():
            yield Finding(str(path), "is missing")
        elif json_or_none(path if content is None else bytes(content)) != node:
            yield Finding(str(path), "differs from the consolidated metadata in the root")


def _check_task(
    store: Store, index: int, nodes: Mapping[str, Any], family: TaskFamily | None, scratch: Scratch
) -> Iterator[Finding]:
    folder = store.path / TASKS / task_folder(index)
    if not (folder / METADATA).is_file():
        yield from _check_nodes(folder, {METADATA: None, **nodes}, {})
        return
    files: dict[str, DataFile] = {}
    if document_sha256(folder / METADATA) != store.record.tasks[str(index)]:
        yield Finding(str(folder / METADATA), "was altered: it differs from its digest in the root")
    try:
        task = store.tasks[index]
    except ClwmError as error:
        yield Finding(str(folder), str(error))
        yield from _check_nodes(folder, nodes, files)
        return
    damaged = list(check_files(folder, task.record, files, scratch))
    yield from damaged
    yield from _check_nodes(folder, nodes, files)
    if damaged:
        return  # what damaged bytes decode to would only obscure the cause
    try:
        arrays = task.load_from(files)
    except ClwmError as error:
        yield Finding(str(folder), str(error))
        return
    yield from check_arrays(f"{store.path}: task {index}", task, arrays, family)


def check_files(
    folder: Path,
    record: TaskRecord,
    keep: dict[str, DataFile] | None = None,
    scratch: Scratch | None = None,
) -> Iterator[Finding]:
    """Compare the files of a task's group, but for its own ``zarr.json``, with their sizes and digests.

    Args:
        folder: of the group.
        record: its metadata.
        keep: receives the files, by their paths below the group, if they are sound and not too large.
        scratch: the memory to read them to; new memory by default.
    """
    findings = list(listed_files(folder, record))
    yield from findings
    wrong = {finding.where for finding in findings}
    if wrong or sum(file.bytes for file in record.files.values()) > KEPT_BYTES:
        keep = scratch = None
    if scratch is not None:
        scratch.reset(file.bytes for file in record.files.values())
    for name, expected in record.files.items():
        path = folder / name
        if wrong and str(path) in wrong:
            continue
        file = DataFile(path, scratch)
        if file.sha256() != expected.sha256:
            yield Finding(str(path), "was altered: it differs from its digest")
        elif keep is not None:
            keep[name] = file


def listed_files(folder: Path, record: TaskRecord) -> Iterator[Finding]:
    """Compare the files of a task's group, but for its own ``zarr.json``, with their names and sizes."""
    files = set(task_files(folder)) - {METADATA}
    for name, expected in record.files.items():
        if name not in files:
            yield Finding(str(folder / name), "is missing")
        # A path takes longer to make than a file's size to read.
        elif (size := os.stat(f"{folder}/{name}").st_size) != expected.bytes:  # noqa: PTH116
            yield Finding(str(folder / name), f"has {plural(size, 'byte')}, expected {expected.bytes}")
    for name in sorted(files - record.files.keys()):
        yield Finding(str(folder / name), "is not a part of the store: remove it")


def _entries(folder: Path) -> Iterator[Path]:
    return (path for path in folder.iterdir() if not is_litter(path)) if folder.is_dir() else iter(())
