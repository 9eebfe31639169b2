"""Checking a store: every byte against its digest, and every value against what it must be."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clwm_data.bounded import MAX_DOCUMENT_BYTES, read_bounded
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
from clwm_data.store.threads import shared, usable_cores

#: How often the check is repeated while other processes replace the store.
ATTEMPTS = 5

#: Each thread holds one task in memory.
MOST_THREADS = 2

#: Larger tasks are read twice, file by file: the sizes that files state may be those of a stranger's holes.
KEPT_BYTES = 2**30

#: Metadata of up to this size is parsed once for all files that have the same; that of an array has some 600.
SMALL_BYTES = 4096


def validate(path: Path | str | Store, on_progress: Callable[[int], object] | None = None) -> list[Finding]:
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
    for index in indices:  # together, which is quicker than amid other work; mistakes are reported below
        with suppress(ClwmError):
            _ = store.tasks[index].arrays

    def checker() -> Callable[[int], list[Finding]]:
        scratch = Scratch()
        return lambda index: list(_check_task(store, index, nodes[task_folder(index)], family, scratch))

    # Threads: hashing and decoding, which take most of the time, let others run.
    checked = shared(indices, checker, min(MOST_THREADS, usable_cores()), on_progress)
    return [*findings, *chain.from_iterable(checked)]


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
            yield Finding(str(entry), _misplaced(store, entry))


def _misplaced(store: Store, entry: Path) -> str:
    """What something among the tasks is that the root does not list by this name."""
    sha256 = document_sha256(entry / METADATA)
    for index, expected in store.record.tasks.items():
        if expected == sha256:
            name = task_folder(int(index))
            if (entry.parent / name).exists():
                return f"is a copy of task {index}, and not a part of the store: remove it"
            return f"is task {index} by another name: rename it {name}"
    return "is not a part of the store: it is not in the root's index"


def _check_nodes(folder: Path, nodes: Mapping[str, Any], opened: Mapping[str, DataFile]) -> Iterator[Finding]:
    """Compare metadata files with their copies in the root.

    Args:
        folder: that the others lie in.
        nodes: path of a ``zarr.json`` below the folder -> its content in the root.
        opened: files that have been read, by their paths below the folder.
    """
    for name, node in nodes.items():
        content = opened[name].content if name in opened else None
        if content is None and not (folder / name).is_file():
            yield Finding(str(folder / name), "is missing")
        elif (json_or_none(folder / name) if content is None else _parsed(content)) != node:
            yield Finding(str(folder / name), "differs from the consolidated metadata in the root")


def _parsed(content: NDArray[np.uint8]) -> Any:
    text = content.tobytes()
    return _parsed_once(text) if len(text) <= SMALL_BYTES else json_or_none(text)


#: As :func:`json_or_none`; arrays of one name mostly have the same metadata in all tasks.
_parsed_once = lru_cache(maxsize=64)(json_or_none)


def _check_task(
    store: Store, index: int, nodes: Mapping[str, Any], family: TaskFamily | None, scratch: Scratch
) -> Iterator[Finding]:
    folder = store.path / TASKS / task_folder(index)
    if not folder.is_dir():
        yield Finding(str(folder), "is missing")
        return
    if not (folder / METADATA).is_file():
        yield from _check_nodes(folder, {METADATA: None, **nodes}, {})
        return
    files: dict[str, DataFile] = {}
    with suppress(OSError):
        metadata = DataFile(folder / METADATA)
        if metadata.size <= MAX_DOCUMENT_BYTES:  # a huge one is not hashed to learn that it was altered
            files[METADATA] = metadata
    if METADATA not in files or files[METADATA].sha256() != store.record.tasks[str(index)]:
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
    names = set(task_files(folder)) - {METADATA}
    yield from check_names(folder, record, names)
    if names != record.files.keys() or sum(file.bytes for file in record.files.values()) > KEPT_BYTES:
        keep = scratch = None
    if scratch is not None:
        scratch.reset(file.bytes for file in record.files.values())
    text = str(folder)  # paths take longer to make
    for name, expected in record.files.items():
        if name not in names:
            continue
        file = DataFile(f"{text}/{name}", scratch, size=expected.bytes)
        if file.size != expected.bytes:
            found = plural(file.size, "byte")
            yield Finding(str(folder / name), f"has {found}, expected {expected.bytes}")
        elif file.sha256() != expected.sha256:
            yield Finding(str(folder / name), "was altered: it differs from its digest")
        elif keep is not None:
            keep[name] = file


def check_names(folder: Path, record: TaskRecord, names: Collection[str] | None = None) -> Iterator[Finding]:
    """Compare the names of the files of a task's group, but for its own ``zarr.json``, with its metadata.

    Args:
        folder: of the group.
        record: its metadata.
        names: of the files, if they are known already.
    """
    present = set(task_files(folder)) - {METADATA} if names is None else set(names)
    for name in record.files:
        if name not in present:
            yield Finding(str(folder / name), "is missing")
    for name in sorted(present - record.files.keys()):
        yield Finding(str(folder / name), "is not a part of the store: remove it")


def _entries(folder: Path) -> Iterator[Path]:
    return (path for path in folder.iterdir() if not is_litter(path)) if folder.is_dir() else iter(())
