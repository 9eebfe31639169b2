"""Stores that were published somewhere: metadata at once, tasks downloaded when they are asked for.

What arrives stays in a cache that is keyed by what was published, never by a name: the same data is not
downloaded twice, and two versions do not meet in one folder. Readers of what is there need no lock and no
permission to write; a lock is taken to download only.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

from clwm_data.cache import waiting_lock
from clwm_data.disk import disk_errors
from clwm_data.errors import ClwmError, UnavailableError
from clwm_data.store.atomic import move_folder
from clwm_data.store.digest import file_sha256
from clwm_data.store.format import METADATA, TASKS, Origin, TaskRecord, task_folder
from clwm_data.store.reader import Store, open_local
from clwm_data.store.root import Root
from clwm_data.store.root_writer import write_root

#: Downloads at the same time, as many as the Hub's own client.
DOWNLOADS = 8
#: Indentations with which clwm and zarr write JSON.
INDENTATIONS = (1, 2)

#: Called with (bytes newly here, bytes needed in all).
ProgressCallback = Callable[[int, int], object]


class ExpectedFile(NamedTuple):
    """What a file has to be: its size, ``None`` where only the digest is known, and its SHA-256."""

    bytes: int | None
    sha256: str


class Source(Protocol):
    """Where the files of a published store come from; it names itself for messages, and can be pickled."""

    def files(self, index: int) -> dict[str, ExpectedFile]:
        """All files of a task, by their paths below its group.

        Raises:
            ClwmError: the source is known not to have them as the root says.
        """

    def bring(self, path: str, expected: ExpectedFile, target: Path) -> None:
        """Download one file, named by its path below the store, and check it.

        Raises:
            ClwmError: it cannot be had as expected.
        """


@dataclass(frozen=True)
class CachedStore:
    """A published store of which some tasks, or all, lie in the cache.

    Attributes:
        folder: where, ``<name>.zarr`` in a folder of its own.
        root: the published metadata, checked.
        source: of the files.
        origin: what the complete store says of where it came from.
    """

    folder: Path
    root: Root
    source: Source
    origin: Origin | None = None

    def open(self) -> Store:
        """The store; the files of a task are brought when its arrays are asked for."""
        return Store(self.folder, self.root, self)

    def __call__(self, index: int) -> None:
        """Have the files of one task here, as :meth:`bring`."""
        self.bring([index])

    def bring(self, indices: Iterable[int], on_progress: ProgressCallback | None = None) -> None:
        """Have the files of tasks here, sound.

        Raises:
            ClwmError: they cannot be downloaded as published, or not be kept.
        """
        missing = self._missing(indices)
        if not missing:
            return
        with waiting_lock(self._beside("lock"), f"downloading {self.source}"):
            missing = self._missing(missing)  # another process may have brought them meanwhile
            with disk_errors(self.folder, "it resumes"):
                self._download(missing, on_progress)

    def complete(self, on_progress: ProgressCallback | None = None) -> Path:
        """Have the whole store here, with a root of its own.

        Returns:
            Its folder.

        Raises:
            ClwmError: as :meth:`bring`.
        """
        self.bring(map(int, self.root.record.tasks), on_progress)
        if not self._root_is_sound():
            record = self.root.record
            with (
                waiting_lock(self._beside("lock"), f"writing the metadata of {self.source}"),
                disk_errors(self.folder, "it resumes"),
            ):
                (self.folder / TASKS / METADATA).unlink(missing_ok=True)  # else it would be kept as it is
                write_root(
                    self.folder,
                    record.manifest,
                    record.provenance,
                    self.origin or record.origin,
                    record.edited,
                )
        return self.folder

    def _beside(self, name: str) -> Path:
        return self.folder.with_name(name)

    def _group(self, index: int) -> Path:
        return self.folder / TASKS / task_folder(index)

    def _record(self, index: int) -> TaskRecord:
        return self.root.task(index, str(self.source))

    def _missing(self, indices: Iterable[int]) -> list[int]:
        return [
            index
            for index in indices
            if not all(
                is_sound(self._group(index) / path, expected)
                for path, expected in recorded_files(self.root, index, str(self.source)).items()
            )
        ]

    def _download(self, indices: Collection[int], on_progress: ProgressCallback | None) -> None:
        for index in indices:  # before anything travels
            self.source.files(index)
        total = sum(file.bytes for index in indices for file in self._record(index).files.values())
        staging = self._beside("download")
        staging.mkdir(parents=True, exist_ok=True)
        check_space(staging, total)
        for index in indices:
            damaged, part = self._group(index), staging / task_folder(index)
            if damaged.exists():
                shutil.rmtree(part, ignore_errors=True)
                damaged.rename(part)  # its sound files are used again
            bring_task(self.root, index, self.source, part, _counting(on_progress, total))
            damaged.parent.mkdir(parents=True, exist_ok=True)
            move_folder(part, damaged)
        shutil.rmtree(staging, ignore_errors=True)

    def _root_is_sound(self) -> bool:
        try:
            store = open_local(self.folder)
            tasks = json.loads((self.folder / TASKS / METADATA).read_bytes())
        except (ClwmError, OSError, ValueError):
            return False
        return (
            store.record.content_sha256 == self.root.record.content_sha256
            and store.record.tasks == self.root.record.tasks
            and store.root.nodes.get(TASKS) == tasks
            and (self.origin is None or store.origin is not None)
        )


def bring_task(
    root: Root, index: int, source: Source, folder: Path, arrived: Callable[[int], object]
) -> None:
    """Have all files of a task, and no others, in a folder that is to become its group.

    Args:
        root: published metadata of the store.
        index: of the task.
        source: of the files.
        folder: what lies there already and is sound is not downloaded again.
        arrived: called with the size of every file of an array when it is there.

    Raises:
        ClwmError: a file cannot be had as published.
    """

    def bring(path: str, expected: ExpectedFile) -> None:
        target, inside = folder / path, f"{TASKS}/{task_folder(index)}/{path}"
        if not is_sound(target, expected):
            target.parent.mkdir(parents=True, exist_ok=True)
            if not _rebuilt(root, inside, target, expected):
                source.bring(inside, expected, target)
        if path != METADATA:
            arrived(expected.bytes or 0)

    files = source.files(index)
    with ThreadPoolExecutor(DOWNLOADS) as pool:
        futures = [pool.submit(bring, *item) for item in files.items()]
        try:
            wait(futures, return_when=FIRST_EXCEPTION)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
    for future in futures:
        if not future.cancelled():
            future.result()
    for path in folder.rglob("*"):
        if path.is_file() and path.relative_to(folder).as_posix() not in files:
            path.unlink()


def recorded_files(root: Root, index: int, where: str) -> dict[str, ExpectedFile]:
    """All files of a task as the root lists them, by their paths below its group."""
    record = root.task(index, where)
    root.arrays(record, where)  # what lies about its size is refused before anything travels
    files = {path: ExpectedFile(file.bytes, file.sha256) for path, file in record.files.items()}
    return {METADATA: ExpectedFile(None, root.record.tasks[str(index)]), **files}


def is_sound(path: Path, expected: ExpectedFile) -> bool:
    """Whether a file is there with the size and the digest that it must have."""
    return (
        path.is_file()
        and expected.bytes in (None, path.stat().st_size)
        and file_sha256(path) == expected.sha256
    )


def check_space(folder: Path, size: int) -> None:
    """Refuse to begin what the disk cannot hold.

    Raises:
        UnavailableError: fewer than ``size`` bytes are free.
    """
    free = shutil.disk_usage(folder).free
    if size > free:
        raise UnavailableError(
            f"{folder}: needs {size} bytes, the disk has {free}: free space, or choose fewer tasks"
        )


def _counting(on_progress: ProgressCallback | None, total: int) -> Callable[[int], object]:
    return (lambda size: None) if on_progress is None else (lambda size: on_progress(size, total))


def _rebuilt(root: Root, inside: str, target: Path, expected: ExpectedFile) -> bool:
    """Write a metadata file from its copy in the root, if that gives the published bytes.

    Half of a task's files are such; the Hub counts requests.
    """
    folder, _, name = inside.rpartition("/")
    if name != METADATA or folder not in root.nodes:
        return False
    for indentation in INDENTATIONS:
        target.write_text(json.dumps(root.nodes[folder], indent=indentation), encoding="utf-8")
        if is_sound(target, expected):
            return True
    target.unlink()
    return False
