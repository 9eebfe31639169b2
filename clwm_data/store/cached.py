"""Published stores: metadata is read at once, a task is downloaded when its arrays are first used.

Downloads are kept in a cache that is keyed by content, never by a name: the same data is not
downloaded twice, and two versions never share a folder. Reading what is cached needs neither a lock nor
permission to write; only a download takes a lock.
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
from clwm_data.store.digest import document_sha256, file_sha256
from clwm_data.store.format import METADATA, TASKS, Origin, TaskRecord, task_folder
from clwm_data.store.reader import Store, open_local
from clwm_data.store.root import Root, json_or_none
from clwm_data.store.root_writer import write_root

#: Downloads at the same time, as many as the Hub's own client.
DOWNLOADS = 8
#: Indentations with which clwm and zarr write JSON.
INDENTATIONS = (1, 2)

#: Called with (bytes that have just arrived, bytes needed in all).
ArrivalCallback = Callable[[int, int], object]


class ExpectedFile(NamedTuple):
    """The size (``None`` where only the digest is known) and the SHA-256 that a file must have."""

    bytes: int | None
    sha256: str


class Source(Protocol):
    """Where the files of a published store come from. ``str`` names it in messages; it can be pickled."""

    def files(self, index: int) -> dict[str, ExpectedFile]:
        """All files of a task, by their paths below its group.

        Raises:
            ClwmError: the source does not hold them as the root lists them.
        """

    def download(self, path: str, expected: ExpectedFile, target: Path) -> None:
        """Download one file, named by its path below the store, and check it.

        Raises:
            ClwmError: it cannot be downloaded as expected.
        """


@dataclass(frozen=True)
class CachedStore:
    """A published store, some or all of whose tasks are in the cache.

    Attributes:
        folder: the cached store, ``<name>.zarr`` in a folder of its own.
        root: the published metadata, checked.
        source: where the files come from.
        origin: where it was published, which the complete store records.
    """

    folder: Path
    root: Root
    source: Source
    origin: Origin | None = None

    def open(self) -> Store:
        """The store; the files of a task are downloaded when its arrays are first used."""
        return Store(self.folder, self.root, self)

    def __call__(self, index: int) -> None:
        """Download the files of one task, as :meth:`fetch`."""
        self.fetch([index])

    def fetch(self, indices: Iterable[int], on_progress: ArrivalCallback | None = None) -> None:
        """Download the files of some tasks, except those that are cached and intact.

        Raises:
            ClwmError: they cannot be downloaded as published, or cannot be written.
        """
        missing = self._missing(indices)
        if not missing:
            return
        with waiting_lock(self._beside("lock"), f"downloading {self.source}"):
            missing = self._missing(missing)  # another process may have downloaded them meanwhile
            with disk_errors(self.folder, "it resumes"):
                self._download(missing, on_progress)

    def complete(self, on_progress: ArrivalCallback | None = None) -> Path:
        """Download the whole store, and write its root.

        Returns:
            Its folder.

        Raises:
            ClwmError: as :meth:`fetch`.
        """
        self.fetch(map(int, self.root.record.tasks), on_progress)
        if not self._root_is_sound():
            record = self.root.record
            with (
                waiting_lock(self._beside("lock"), f"writing the metadata of {self.source}"),
                disk_errors(self.folder, "it resumes"),
            ):
                (self.folder / TASKS / METADATA).unlink(missing_ok=True)  # an existing one would be kept
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

    def _download(self, indices: Collection[int], on_progress: ArrivalCallback | None) -> None:
        for index in indices:  # before anything is downloaded
            self.source.files(index)
        total = sum(file.bytes for index in indices for file in self._record(index).files.values())
        staging = self._beside("download")
        staging.mkdir(parents=True, exist_ok=True)
        check_space(staging, total)
        for index in indices:
            damaged, part = self._group(index), staging / task_folder(index)
            if damaged.exists():
                shutil.rmtree(part, ignore_errors=True)
                damaged.rename(part)  # its intact files are reused
            download_task(self.root, index, self.source, part, _counting(on_progress, total))
            damaged.parent.mkdir(parents=True, exist_ok=True)
            move_folder(part, damaged)
        shutil.rmtree(staging, ignore_errors=True)

    def _root_is_sound(self) -> bool:
        try:
            store = open_local(self.folder)
        except (ClwmError, OSError):
            return False
        return (
            store.record.content_sha256 == self.root.record.content_sha256
            and store.record.tasks == self.root.record.tasks
            and store.root.nodes.get(TASKS) == json_or_none(self.folder / TASKS / METADATA)
            and (self.origin is None or store.origin is not None)
        )


def download_task(
    root: Root, index: int, source: Source, folder: Path, arrived: Callable[[int], object]
) -> None:
    """Download the files of a task to a folder that will become its group, and remove all others there.

    Args:
        root: published metadata of the store.
        index: of the task.
        source: of the files.
        folder: intact files that it holds already are kept.
        arrived: called with the size of each array file when it has arrived.

    Raises:
        ClwmError: a file cannot be downloaded as published.
    """

    def download(path: str, expected: ExpectedFile) -> None:
        target, inside = folder / path, f"{TASKS}/{task_folder(index)}/{path}"
        if not is_sound(target, expected):
            target.parent.mkdir(parents=True, exist_ok=True)
            if not _rebuilt(root, inside, target, expected):
                source.download(inside, expected, target)
        if path != METADATA:
            arrived(expected.bytes or 0)

    files = source.files(index)
    with ThreadPoolExecutor(DOWNLOADS) as pool:
        futures = [pool.submit(download, *item) for item in files.items()]
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
    root.arrays(record, where)  # false sizes are refused before anything is downloaded
    files = {path: ExpectedFile(file.bytes, file.sha256) for path, file in record.files.items()}
    return {METADATA: ExpectedFile(None, root.record.tasks[str(index)]), **files}


def is_sound(path: Path, expected: ExpectedFile) -> bool:
    """Whether a file exists, with the expected size and digest."""
    return (
        path.is_file()
        and expected.bytes in (None, path.stat().st_size)
        and (document_sha256 if expected.bytes is None else file_sha256)(path) == expected.sha256
    )


def check_space(folder: Path, size: int) -> None:
    """Refuse to begin a download that the disk cannot hold.

    Raises:
        UnavailableError: fewer than ``size`` bytes are free.
    """
    free = shutil.disk_usage(folder).free
    if size > free:
        raise UnavailableError(
            f"{folder}: needs {size} bytes, the disk has {free}: free space, or choose fewer tasks"
        )


def _counting(on_progress: ArrivalCallback | None, total: int) -> Callable[[int], object]:
    return (lambda size: None) if on_progress is None else (lambda size: on_progress(size, total))


def _rebuilt(root: Root, inside: str, target: Path, expected: ExpectedFile) -> bool:
    """Write a metadata file from its copy in the root, if that gives the published bytes.

    Half of a task's files are metadata, and the Hub limits the number of requests.
    """
    folder, _, name = inside.rpartition("/")
    if name != METADATA or folder not in root.nodes:
        return False
    for indentation in INDENTATIONS:
        target.write_text(json.dumps(root.nodes[folder], indent=indentation), encoding="utf-8", newline="\n")
        if is_sound(target, expected):
            return True
    target.unlink()
    return False
