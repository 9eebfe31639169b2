"""Reading a store: metadata at once, arrays when asked for."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from pydantic import ValidationError

from clwm_data.errors import ClwmError
from clwm_data.families.base import Parameters, Split
from clwm_data.manifest import Manifest
from clwm_data.store.arrays import DTYPES, TaskArrays
from clwm_data.store.digest import array_sha256
from clwm_data.store.format import (
    FORMAT,
    FORMAT_VERSION,
    METADATA,
    TASKS,
    Provenance,
    StoreRecord,
    TaskRecord,
    task_folder,
)


class StoredTask:
    """One task of a store.

    Attributes:
        record: its metadata.
    """

    def __init__(self, group: zarr.Group, record: TaskRecord, folder: Path) -> None:
        self._group = group
        self._folder = folder
        self.record = record

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
        """The Zarr array of a name, not yet read, its shape and type checked against the metadata.

        Raises:
            ClwmError: the array is missing, or is not what the metadata says.
        """
        try:
            array = self._group[name]
        except KeyError as error:
            raise ClwmError(
                f"{self._folder}/{name}: array is missing: download or collect it again"
            ) from error
        if not isinstance(array, zarr.Array) or array.dtype != np.dtype(DTYPES[name]):
            raise ClwmError(f"{self._folder}/{name}: expected an array of {np.dtype(DTYPES[name]).name}")
        rows = self.record.episodes if name.startswith("episode_") else self.record.transitions
        rows += self.record.episodes if name == "observation" else 0
        dimensions = 2 if name in ("observation", "action", "episode_initial_state") else 1
        if array.shape[:1] != (rows,) or array.ndim != dimensions:
            raise ClwmError(f"{self._folder}/{name}: has shape {array.shape}, expected {rows} rows")
        return array

    def load(self, *, verify: bool = False) -> TaskArrays:
        """All arrays of the task, decoded into memory.

        Args:
            verify: also compare the values with their digests.

        Raises:
            ClwmError: an array is missing, damaged or not what the metadata says.
        """
        values: dict[str, Any] = {name: self._read(name, verify) for name in DTYPES if self._has(name)}
        return TaskArrays(**{"success": None, **values})

    def _has(self, name: str) -> bool:
        return name != "success" or name in self.record.arrays

    def _check_files(self, name: str) -> None:
        """A chunk that is not there would be read as zeros, silently."""
        for file, record in self.record.files.items():
            path = self._folder / file
            if file.startswith(f"{name}/") and not (path.is_file() and path.stat().st_size == record.bytes):
                raise ClwmError(
                    f"{path}: is missing or truncated: collect or download task {self.index} again"
                )

    def _read(self, name: str, verify: bool) -> NDArray[Any]:
        array = self.array(name)
        self._check_files(name)
        try:
            values = np.asarray(array[...])
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
        record: metadata of the root.
    """

    def __init__(self, path: Path, group: zarr.Group, record: StoreRecord) -> None:
        self.path = path
        self.record = record
        self._group = group

    @property
    def name(self) -> str:
        """Name of the dataset."""
        return self.record.manifest.name

    @property
    def family(self) -> str:
        """Name of the task family."""
        return self.record.manifest.family

    @property
    def manifest(self) -> Manifest:
        """The resolved manifest; it may list tasks that are not here (see ``missing_tasks``)."""
        return self.record.manifest

    @property
    def provenance(self) -> Provenance:
        """When, how and with which versions the data was collected."""
        return self.record.provenance

    @cached_property
    def tasks(self) -> dict[int, StoredTask]:
        """Tasks by index, ascending.

        Raises:
            ClwmError: a task that the index lists is missing or damaged.
        """
        return {index: self._open_task(index) for index in sorted(int(key) for key in self.record.tasks)}

    @property
    def missing_tasks(self) -> tuple[int, ...]:
        """Tasks of the manifest that this store does not hold (not collected yet, or not downloaded)."""
        listed = (
            self.manifest.tasks if isinstance(self.manifest.tasks, list) else self.manifest.task_indices()
        )
        return tuple(index for index in listed if str(index) not in self.record.tasks)

    def _open_task(self, index: int) -> StoredTask:
        where = self.path / TASKS / task_folder(index)
        try:
            group = self._group[f"{TASKS}/{task_folder(index)}"]
            record = TaskRecord.model_validate(dict(group.attrs))
        except KeyError as error:
            raise ClwmError(f"{where}: task {index} is listed but missing: collect or download it") from error
        except ValidationError as error:
            raise ClwmError(f"{where}/{METADATA}: {_first(error)}") from error
        if not isinstance(group, zarr.Group) or record.index != index:
            raise ClwmError(f"{where}/{METADATA}: does not describe task {index}")
        return StoredTask(group, record, where)


def open_store(path: str | Path) -> Store:
    """Open a store for reading; no array is read yet.

    Raises:
        ClwmError: no store there, or one that this version of clwm cannot read.
    """
    path = Path(path)
    if not (path / METADATA).is_file():
        what = "is not a store: it has no zarr.json" if path.exists() else "does not exist"
        raise ClwmError(f"{path}: store {what}; `clwm collect` makes one")
    try:
        group = zarr.open_group(store=path, mode="r", zarr_format=3)
        attributes = dict(group.attrs)
    except Exception as error:  # zarr raises errors of many types on damaged metadata
        raise ClwmError(f"{path}/{METADATA}: is damaged: {' '.join(str(error).split())}") from error
    return Store(path, group, store_record(attributes, str(path)))


def store_record(attributes: dict[str, Any], where: str) -> StoreRecord:
    """The root's attributes as a checked record.

    Raises:
        ClwmError: not a clwm store, another format version, or damaged attributes.
    """
    if attributes.get("format") != FORMAT:
        raise ClwmError(f"{where}: is a Zarr group but not a clwm store (attribute format is not {FORMAT!r})")
    version = attributes.get("format_version")
    if version != FORMAT_VERSION:
        newer = isinstance(version, int) and version > FORMAT_VERSION
        mend = (
            "upgrade clwm to read it" if newer else "collect it again, or use the clwm release that wrote it"
        )
        raise ClwmError(
            f"{where}: store has format version {version}, this clwm reads version {FORMAT_VERSION}: {mend}"
        )
    try:
        return StoreRecord.model_validate(attributes)
    except ValidationError as error:
        raise ClwmError(f"{where}/{METADATA}: {_first(error)}") from error


def _first(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    return f"attribute {'.'.join(str(step) for step in first['loc'])}: {first['msg']}"
