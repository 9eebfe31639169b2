"""Reading a store: metadata at once, arrays when asked for.

Nothing in a store is trusted: its metadata is checked when it is opened, and its data files before they are
decoded (see :mod:`~clwm_data.store.root`, :mod:`~clwm_data.store.array_metadata` and
:mod:`~clwm_data.store.chunks`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from clwm_data.errors import ClwmError
from clwm_data.families import TaskFamily, family_names, get_family
from clwm_data.families.base import Parameters, Split
from clwm_data.families.declared import declared_family
from clwm_data.manifest import Manifest
from clwm_data.paths import real_path
from clwm_data.store.array_metadata import ArrayMetadata, array_metadata
from clwm_data.store.arrays import DTYPES, OPTIONAL, Episode, TaskArrays
from clwm_data.store.chunks import check_chunks
from clwm_data.store.decode import decode, decodes
from clwm_data.store.digest import array_sha256
from clwm_data.store.flat import chosen_tasks, flat_arrays
from clwm_data.store.format import (
    METADATA,
    TASKS,
    FileRecord,
    Origin,
    Provenance,
    StoreRecord,
    TaskRecord,
    task_folder,
)
from clwm_data.store.replacement import settle
from clwm_data.store.root import Root, parse_json, read_root

#: The writer's take half a kilobyte.
MAX_ARRAY_METADATA_BYTES = 2**20

#: Brings the files of a task, by its index, to where the store keeps them.
Fetch = Callable[[int], object]


class StoredTask:
    """One task of a store.

    Attributes:
        record: its metadata.
        arrays: metadata of its arrays, by name.
    """

    def __init__(
        self, record: TaskRecord, arrays: Mapping[str, ArrayMetadata], folder: Path, fetch: Fetch | None
    ) -> None:
        self.record = record
        self.arrays = arrays
        self._folder = folder
        self._fetch = fetch

    @property
    def index(self) -> int:
        """Task index in the family."""
        return self.record.index

    @property
    def split(self) -> Split:
        """``train``, ``id`` or ``ood``."""
        return self.record.split

    @property
    def parameters(self) -> Parameters:
        """The task's parameters."""
        return {
            key: tuple(value) if isinstance(value, list) else value
            for key, value in self.record.parameters.items()
        }

    def array(self, name: str) -> zarr.Array[Any]:
        """The Zarr array of a name, not yet read; its files were checked to hold what its metadata says.

        Raises:
            ClwmError: the array is missing or damaged.
        """
        folder, metadata, files = self._checked(name)
        if (folder / METADATA).stat().st_size > MAX_ARRAY_METADATA_BYTES:
            raise ClwmError(f"{folder}/{METADATA}: has more than {MAX_ARRAY_METADATA_BYTES} bytes")
        # zarr will read the array's own metadata: it must be what was checked.
        document = parse_json((folder / METADATA).read_bytes(), f"{folder}/{METADATA}")
        if array_metadata(document, name, metadata.shape[0], files, str(folder)) != metadata:
            raise ClwmError(f"{folder}/{METADATA}: differs from the consolidated metadata in the root")
        return zarr.open_array(store=folder, mode="r", zarr_format=3)

    def _checked(self, name: str) -> tuple[Path, ArrayMetadata, dict[str, FileRecord]]:
        """Folder, metadata and files of an array; the files are here, and hold what the metadata says."""
        if self._fetch is not None:
            self._fetch(self.index)
            self._fetch = None
        folder = self._folder / name
        if name not in self.arrays or not (folder / METADATA).is_file():
            raise ClwmError(f"{folder}: array is missing: download or collect it again")
        metadata, files = self.arrays[name], self.record.array_files(name)
        check_chunks(folder, metadata, files)
        return folder, metadata, files

    def load(self, *, verify: bool = False) -> TaskArrays:
        """All arrays of the task, decoded into memory.

        Args:
            verify: also compare the values with their digests.

        Raises:
            ClwmError: an array is missing, damaged, or too large for this machine.
        """
        size, memory = sum(array.nbytes for array in self.arrays.values()), _memory_bytes()
        if size > memory:
            raise ClwmError(
                f"{self._folder}: decodes to {size} bytes, more than the memory of {memory} bytes"
            )
        values: dict[str, Any] = {name: self._read(name, verify) for name in DTYPES if name in self.arrays}
        return TaskArrays(**{**dict.fromkeys(OPTIONAL), **values})

    def _read(self, name: str, verify: bool) -> NDArray[Any]:
        folder, metadata, files = self._checked(name)
        try:
            if decodes(metadata):
                values = decode(folder, metadata, files)
            else:
                values = np.asarray(self.array(name)[...])
        except (ClwmError, MemoryError):
            raise
        except Exception as error:  # codecs raise errors of many types on damaged bytes
            reason = " ".join(str(error).split()) or type(error).__name__
            raise ClwmError(f"{self._folder}/{name}: cannot be decoded: {reason}") from error
        if verify and array_sha256(values) != self.record.arrays.get(name):
            raise ClwmError(f"{self._folder}/{name}: values differ from their digest: the data was altered")
        return values


class Store:
    """A dataset on disk: tasks with their episodes, the manifest that made them, and provenance.

    Attributes:
        path: folder of the store.
        root: its root metadata.
    """

    def __init__(self, path: Path, root: Root, fetch: Fetch | None = None) -> None:
        self.path = path
        self.root = root
        self._fetch = fetch

    @property
    def record(self) -> StoreRecord:
        """Attributes of the root."""
        return self.root.record

    @property
    def name(self) -> str:
        """Name of the dataset."""
        return self.record.manifest.name

    @property
    def family(self) -> str:
        """Name of the task family."""
        return self.record.manifest.family

    @property
    def task_family(self) -> TaskFamily:
        """The task family, also of a store that brings its own declaration.

        Raises:
            NotFoundError: it is not known here.
        """
        declared = self.manifest.declared_family
        # Code that a declaration names was written by whoever made the store.
        return get_family(self.family) if declared is None else declared_family(declared, trusted=False)

    @property
    def known_family(self) -> TaskFamily | None:
        """As ``task_family``; ``None`` where it is not known here."""
        declared = self.manifest.declared_family is not None
        return self.task_family if declared or self.family in family_names() else None

    @property
    def manifest(self) -> Manifest:
        """The resolved manifest; it may list tasks that are not here (see ``missing_tasks``)."""
        return self.record.manifest

    @property
    def provenance(self) -> Provenance:
        """When, how and with which versions the data was collected."""
        return self.record.provenance

    @property
    def origin(self) -> Origin | None:
        """Where the store was downloaded from, or ``None``."""
        return self.record.origin

    @cached_property
    def tasks(self) -> dict[int, StoredTask]:
        """Tasks by index, ascending.

        Raises:
            ClwmError: a task that the index lists is missing or damaged.
        """
        return {index: self._open_task(index) for index in sorted(int(key) for key in self.record.tasks)}

    def split(self, split: Split) -> tuple[int, ...]:
        """Indices of the tasks of one split that are here, ascending."""
        return tuple(chosen_tasks(self, None, split))

    def episodes(
        self, tasks: Collection[int] | None = None, split: Split | None = None
    ) -> Iterator[tuple[int, Episode]]:
        """Every episode with the index of its task; one task at a time is in memory.

        Args:
            tasks: only these.
            split: only tasks of this split.

        Raises:
            ClwmError: a task that is not here, or damaged data.
        """
        for index in chosen_tasks(self, tasks, split):
            for episode in self.tasks[index].load():
                yield index, episode

    def to_arrays(
        self, tasks: Collection[int] | None = None, split: Split | None = None
    ) -> dict[str, NDArray[Any]]:
        """All transitions, one row each, copied into flat arrays of the M transitions of all chosen tasks.

        Args:
            tasks: only these.
            split: only tasks of this split.

        Returns:
            ``observation`` [M, obs], ``action`` [M, act], ``reward`` [M], ``next_observation`` [M, obs],
            ``terminated`` [M], ``truncated`` [M], ``success`` [M] where the family has it, and of which
            ``task``, ``episode`` (number within the task) and ``behaviour`` (into the task's mixture) a
            transition is [M].

        Raises:
            ClwmError: no task is chosen, one that is not here, or damaged data.
        """
        return flat_arrays((index, self.tasks[index].load()) for index in chosen_tasks(self, tasks, split))

    @property
    def missing_tasks(self) -> tuple[int, ...]:
        """Tasks of the manifest that this store does not hold (not collected yet, or not downloaded)."""
        listed = (
            self.manifest.tasks if isinstance(self.manifest.tasks, list) else self.manifest.task_indices()
        )
        return tuple(index for index in listed if str(index) not in self.record.tasks)

    def _open_task(self, index: int) -> StoredTask:
        record, arrays = self.root.task(index, str(self.path))
        return StoredTask(record, arrays, self.path / TASKS / task_folder(index), self._fetch)


def open_local(path: Path) -> Store:
    """Open a store on this machine's disk for reading; no array is read yet.

    Raises:
        ClwmError: no store there, or one that this version of clwm cannot read.
    """
    settle(real_path(path))
    return Store(path, read_root(path))


def _memory_bytes() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
