"""The root ``zarr.json``: everything about a store but the values, checked before anything acts on it."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from clwm_data.bounded import MAX_DOCUMENT_BYTES, read_bounded
from clwm_data.errors import ClwmError, DamagedDataError, NotFoundError
from clwm_data.mistaken import not_there
from clwm_data.pages.numbers import plural
from clwm_data.store.arrays import DTYPES, OPTIONAL
from clwm_data.store.digest import content_sha256, root_sha256
from clwm_data.store.format import (
    FORMAT,
    FORMAT_VERSION,
    METADATA,
    TASKS,
    StoreRecord,
    TaskRecord,
    task_folder,
)
from clwm_data.strict import first_mistake

if TYPE_CHECKING:
    from clwm_data.store.array_metadata import ArrayMetadata

#: A thousand tasks need about 12 MB.
MAX_METADATA_BYTES = MAX_DOCUMENT_BYTES
#: Keys, values, lists and objects: a task has about 800, which take some 60 bytes each when parsed.
MAX_METADATA_VALUES = 2**24

#: Simulator states compress by a factor of 1.1, flags by thousands. Arrays that decode to more than this many
#: times the size of their files are refused, unless they are small enough to be harmless.
MAX_RATIO = 256
HARMLESS_BYTES = 2**28

NODE = re.compile(rf"{TASKS}(/[0-9]{{4,9}}(/[a-z_]+)?)?")


@dataclass(frozen=True)
class Root:
    """A parsed root.

    Attributes:
        record: its attributes.
        nodes: path of a group or an array below the store -> its ``zarr.json``, not yet checked.
        document: the whole JSON document.
        text: the file.
    """

    record: StoreRecord
    nodes: Mapping[str, Any]
    document: Mapping[str, Any]
    text: bytes

    def verify(self, where: str) -> None:
        """Compare the root with its own digest, and the content's digest with those of the arrays.

        Args:
            where: how to name the store in messages.

        Raises:
            DamagedDataError: they differ.
        """
        if self._mistake is not None:
            raise DamagedDataError(
                f"{where}/{METADATA}: {self._mistake}: collect or download the store again (`clwm validate` "
                "shows all that is wrong)"
            )

    @cached_property
    def _mistake(self) -> str | None:
        if root_sha256(self.document) != self.record.root_sha256:
            return "was altered: it differs from its own digest"
        arrays: dict[str, Any] = {}
        for index in self.indices:
            attributes = self._node(index, "root").get("attributes")
            arrays[str(index)] = attributes.get("arrays") if isinstance(attributes, dict) else None
        if content_sha256(arrays) != self.record.content_sha256:
            return "was altered: its content digest differs from the digests of the arrays"
        return None

    def __reduce__(self) -> tuple[Callable[[bytes, str], Root], tuple[bytes, str]]:
        return parse_root, (self.text, self.record.manifest.name)

    @property
    def indices(self) -> list[int]:
        """Indices of the tasks that the store holds, ascending."""
        return sorted(map(int, self.record.tasks))

    def _node(self, index: int, where: str) -> dict[str, Any]:
        key = f"{TASKS}/{task_folder(index)}"
        node = self.nodes.get(key)
        if not isinstance(node, dict):
            raise DamagedDataError(
                f"{where}/{key}: task {index} is listed but missing: collect or download it"
            )
        return node

    def task(self, index: int, where: str) -> TaskRecord:
        """The checked metadata of a task.

        Args:
            index: of the task.
            where: how to name the store in messages.

        Raises:
            DamagedDataError: it is not there, damaged, or not what the format says.
        """
        file = f"{where}/{TASKS}/{task_folder(index)}/{METADATA}"
        try:
            record = TaskRecord.model_validate(self._node(index, where).get("attributes"))
        except ValidationError as error:
            raise DamagedDataError(f"{file}: {first_mistake(error)}") from error
        if record.index != index:
            raise DamagedDataError(f"{file}: does not describe task {index}")
        if not DTYPES.keys() - OPTIONAL <= record.arrays.keys() <= DTYPES.keys():
            raise DamagedDataError(f"{file}: lists other arrays than the format has")
        if any(path.split("/")[0] not in record.arrays for path in record.files):
            raise DamagedDataError(f"{file}: lists files of other arrays than the format has")
        if record.transitions < record.episodes:
            raise DamagedDataError(
                f"{file}: {plural(record.transitions, 'transition')} cannot be "
                f"{plural(record.episodes, 'episode')}"
            )
        return record

    def arrays(self, record: TaskRecord, where: str) -> dict[str, ArrayMetadata]:
        """The checked metadata of the arrays of a task, by their names.

        Args:
            record: of the task.
            where: how to name the store in messages.

        Raises:
            DamagedDataError: it is not what the format says, or claims more than the files can hold.
        """
        from clwm_data.store.array_metadata import array_metadata  # its models take long to make

        key = f"{TASKS}/{task_folder(record.index)}"
        arrays = {
            name: array_metadata(
                self.nodes.get(f"{key}/{name}"),
                name,
                _rows(record, name),
                record.array_files(name),
                f"{where}/{key}/{name}",
                numbers=name == "action" and record.discrete_actions is not None,
            )
            for name in record.arrays
        }
        decoded = sum(array.nbytes for array in arrays.values())
        stored = sum(file.bytes for file in record.files.values())
        if decoded > max(HARMLESS_BYTES, MAX_RATIO * stored):
            raise DamagedDataError(
                f"{where}/{key}/{METADATA}: claims {decoded} bytes of arrays in {stored} bytes of files: "
                "recorded data does not compress that well"
            )
        return arrays


def read_root(store: Path) -> Root:
    """Read a store's root.

    Raises:
        NotFoundError: there is none.
        DamagedDataError: as :func:`parse_root`.
    """
    file = store / METADATA
    if not file.is_file():
        raise NotFoundError(not_there(store, "store"))
    if file.stat().st_size > MAX_METADATA_BYTES:
        raise DamagedDataError(
            f"{file}: has more than {MAX_METADATA_BYTES} bytes: it is not the root of a store"
        )
    try:
        text = read_bounded(file, MAX_METADATA_BYTES)
    except OSError as error:
        raise DamagedDataError(f"{file}: cannot be read: {error.strerror}") from error
    return parse_root(text, str(store))


def parse_root(text: bytes, where: str) -> Root:
    """Parse and check a root ``zarr.json``; the tasks are checked when they are asked for.

    Raises:
        DamagedDataError: not a clwm store, another format version, or damaged metadata.
    """
    document = parse_json(text, f"{where}/{METADATA}")
    if document.get("zarr_format") != 3 or document.get("node_type") != "group":
        raise DamagedDataError(f"{where}/{METADATA}: is not the metadata of a Zarr v3 group")
    attributes = document.get("attributes")
    record = store_record(attributes if isinstance(attributes, dict) else {}, where)
    consolidated = document.get("consolidated_metadata")
    nodes = consolidated.get("metadata") if isinstance(consolidated, dict) else None
    if not isinstance(nodes, dict):
        raise DamagedDataError(f"{where}/{METADATA}: is damaged: it has no consolidated metadata")
    for key in nodes:
        if not NODE.fullmatch(key):
            raise DamagedDataError(f"{where}/{METADATA}: {key[:100]!r} is not a part of a store")
    return Root(record, nodes, document, text)


def store_record(attributes: Mapping[str, Any], where: str) -> StoreRecord:
    """The root's attributes as a checked record.

    Raises:
        DamagedDataError: not a clwm store, another format version, or damaged attributes.
    """
    if attributes.get("format") != FORMAT:
        raise DamagedDataError(
            f"{where}: is a Zarr group but not a clwm store (attribute format is not {FORMAT!r})"
        )
    version = attributes.get("format_version")
    if version != FORMAT_VERSION:
        newer = isinstance(version, int) and version > FORMAT_VERSION
        remedy = (
            "upgrade clwm to read it" if newer else "collect it again, or use the clwm release that wrote it"
        )
        raise DamagedDataError(
            f"{where}: store has format version {version}, this clwm reads version {FORMAT_VERSION}: {remedy}"
        )
    try:
        return StoreRecord.model_validate(attributes)
    except ValidationError as error:
        raise DamagedDataError(f"{where}/{METADATA}: {first_mistake(error)}") from error


def parse_json(text: bytes, where: str) -> dict[str, Any]:
    """Parse one JSON object of finite numbers.

    Args:
        text: UTF-8.
        where: how to name it in messages.

    Raises:
        DamagedDataError: the text is anything else.
    """
    if count_values(text) > MAX_METADATA_VALUES:  # before it is parsed, which would take much memory
        raise DamagedDataError(
            f"{where}: holds more than {MAX_METADATA_VALUES:,} values: it was not written by clwm"
        )
    try:
        document = json.loads(text, parse_float=_finite, parse_constant=_finite)
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else error
        raise DamagedDataError(f"{where}: is damaged: {reason}") from error
    if not isinstance(document, dict):
        raise DamagedDataError(
            f"{where}: is damaged: expected a JSON object, found {type(document).__name__}"
        )
    return document


def json_or_none(file: Path | bytes) -> dict[str, Any] | None:
    """The content of a JSON file, given by its path or its bytes; ``None`` where it is missing or damaged."""
    try:
        return parse_json(file if isinstance(file, bytes) else read_bounded(file), "")
    except (OSError, ClwmError):
        return None


def count_values(text: bytes) -> int:
    """At least the number of objects, lists and values of a JSON text; quick, without parsing it.

    A list of empty lists takes twenty times the memory of its text.
    """
    return sum(map(text.count, (b",", b"[", b"{", b":")))


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:20]} is not a finite number")
    return number


def _rows(record: TaskRecord, name: str) -> int:
    if name.startswith("episode_"):
        return record.episodes
    return record.transitions + (record.episodes if name == "observation" else 0)
