"""Writing the root of a store: the index of its tasks, and their metadata.

Consolidated metadata grows with the number of tasks, so writing the root after each of them would take a time
quadratic in their number. While a store is being filled, its root is therefore written at intervals: a
complete task is in its place, with metadata of its own, until the next root lists it.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from clwm_data.bounded import read_bounded
from clwm_data.errors import DamagedDataError, InvalidInputError
from clwm_data.manifest import Manifest
from clwm_data.store.atomic import replacing, write_json
from clwm_data.store.digest import content_sha256, root_sha256
from clwm_data.store.format import (
    FORMAT,
    FORMAT_VERSION,
    METADATA,
    STAGING,
    TASKS,
    Edit,
    Origin,
    Provenance,
    StoreRecord,
    task_folder,
)
from clwm_data.store.root import MAX_METADATA_BYTES, MAX_METADATA_VALUES, count_values

#: Largest share of the time that goes into roots which later ones replace.
SHARE = 0.04
#: Shortest time between two of them.
LEAST_SECONDS = 2.0


class RootWriter:
    """The root of a store that tasks are added to; those it has are read from the disk.

    Unfinished files are in the staging folder only, which is not a part of the store: a process that is
    killed leaves nothing in the store that does not belong to it.
    """

    def __init__(
        self,
        store: Path,
        manifest: Manifest,
        provenance: Provenance,
        origin: Origin | None = None,
        edited: Edit | None = None,
    ) -> None:
        """Read the metadata of the tasks that are there.

        Args:
            store: folder of the store.
            manifest: resolved; it may list tasks that are not there.
            provenance: how the tasks were collected.
            origin: where all of them were downloaded from.
            edited: how the store was made from others.
        """
        self._store = store
        self._manifest = manifest
        self._attributes: dict[str, Any] = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "manifest": manifest.model_dump(mode="json"),
            "provenance": provenance.model_dump(mode="json"),
            **({} if origin is None else {"origin": origin.model_dump(mode="json")}),
            **({} if edited is None else {"edited": edited.model_dump(mode="json")}),
        }
        self._tasks: dict[int, str] = {}
        self._arrays: dict[int, dict[str, str]] = {}
        self._nodes: dict[int, dict[str, Any]] = {}
        self._bytes = 0
        self._written = time.monotonic()
        self._took = 0.0
        self._complete = False
        for group in (store / TASKS).glob(f"[0-9]*/{METADATA}"):
            self._read(int(group.parent.name))

    def add(self, index: int) -> None:
        """Add a task that has been written, and write the root if the last one is old enough.

        Raises:
            InvalidInputError: the metadata of all tasks of the manifest will not fit into a root.
        """
        self._read(index)
        self._complete = False
        listed = len(self._manifest.tasks) if isinstance(self._manifest.tasks, list) else 0
        expected = self._bytes // len(self._nodes) * max(listed, len(self._nodes))
        if expected > MAX_METADATA_BYTES:
            raise InvalidInputError(_too_large(self._store, f"{listed} tasks need about {expected} bytes"))
        if time.monotonic() - self._written > max(LEAST_SECONDS, self._took / SHARE):
            self.write()

    def write(self) -> StoreRecord:
        """Write the root.

        Raises:
            InvalidInputError: it is larger than a root may be.
        """
        since = time.monotonic()
        staging = self._store / STAGING
        staging.mkdir(exist_ok=True)
        indices = sorted(self._nodes)
        nodes: dict[str, Any] = {}
        if (self._store / TASKS).is_dir():
            nodes[TASKS] = {"zarr_format": 3, "node_type": "group", "attributes": {}}
            if not (self._store / TASKS / METADATA).is_file():
                write_json(self._store / TASKS / METADATA, nodes[TASKS], aside=staging)
            for index in indices:
                nodes.update(self._nodes[index])
        attributes = {
            **self._attributes,
            "tasks": {str(index): self._tasks[index] for index in indices},
            "content_sha256": content_sha256({str(index): self._arrays[index] for index in indices}),
        }
        root: dict[str, Any] = {
            "zarr_format": 3,
            "node_type": "group",
            "attributes": attributes,
            "consolidated_metadata": {"kind": "inline", "must_understand": False, "metadata": nodes},
        }
        attributes["root_sha256"] = root_sha256(root)
        text = json.dumps(root, allow_nan=False).encode()
        if len(text) > MAX_METADATA_BYTES or count_values(text) > MAX_METADATA_VALUES:
            raise InvalidInputError(
                _too_large(self._store, f"its {len(indices)} tasks need {len(text)} bytes")
            )
        with replacing(self._store / METADATA, aside=staging) as temporary:
            temporary.write_bytes(text)
        with suppress(OSError):  # still used by the collection
            staging.rmdir()
        self._written = time.monotonic()
        self._took = self._written - since
        self._complete = True
        return StoreRecord.model_validate(attributes)

    @contextmanager
    def adding(self) -> Iterator[None]:
        """A block that adds tasks: when it ends, also by an error, the root lists all of them."""
        self.write()
        try:
            yield
        except BaseException:
            with suppress(OSError, InvalidInputError):  # report the error that ended the block
                self._finish()
            raise
        self._finish()

    def _finish(self) -> None:
        if not self._complete:
            self.write()

    def _read(self, index: int) -> None:
        """Read the metadata of a task's group and arrays from the disk."""
        group = self._store / TASKS / task_folder(index)
        try:
            text = read_bounded(group / METADATA)
            node = json.loads(text)
            arrays: dict[str, str] = node["attributes"]["arrays"]
            parts = {name: read_bounded(group / name / METADATA) for name in sorted(arrays)}
            nodes = {f"{TASKS}/{group.name}/{name}": json.loads(part) for name, part in parts.items()}
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise DamagedDataError(
                f"{group}: its metadata is damaged: delete this folder and collect or download the task again"
            ) from error
        self._nodes[index] = {f"{TASKS}/{group.name}": node, **nodes}
        self._tasks[index] = hashlib.sha256(text).hexdigest()
        self._arrays[index] = arrays
        self._bytes += len(text) + sum(map(len, parts.values()))


def write_root(
    store: Path,
    manifest: Manifest,
    provenance: Provenance,
    origin: Origin | None = None,
    edited: Edit | None = None,
) -> StoreRecord:
    """Write the root of a store whose tasks are all complete; arguments as for :class:`RootWriter`.

    Raises:
        InvalidInputError: it is larger than a root may be.
        DamagedDataError: the metadata of a task cannot be read.
    """
    return RootWriter(store, manifest, provenance, origin, edited).write()


def _too_large(store: Path, what: str) -> str:
    return (
        f"{store}/{METADATA}: {what} of metadata, a store may have {MAX_METADATA_BYTES}: "
        "spread the tasks over several stores (`tasks:` in the manifest)"
    )
