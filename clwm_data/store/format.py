"""The store's format, version 1: names, layout, metadata (docs/format.md: for other languages)."""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, SerializerFunctionWrapHandler, StringConstraints, model_serializer

from clwm_data.families.base import Split
from clwm_data.manifest import BehaviourEntry, Manifest
from clwm_data.strict import StrictModel, Text

FORMAT = "clwm-store"
FORMAT_VERSION = 1

METADATA = "zarr.json"
TASKS = "tasks"
#: Folder inside a store that holds what is not a part of it yet: finished segments, the lock.
STAGING = ".collect"

#: Rows are cut into chunks of about this size, and chunks gathered into shards (files) of at most this size.
CHUNK_BYTES = 2**20
SHARD_BYTES = 2**28

#: Largest number of discrete actions.
MOST_ACTIONS = 100_000

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
#: A task's index as a JSON key.
TaskKey = Annotated[str, StringConstraints(pattern=r"^(0|[1-9][0-9]{0,8})$")]
#: A file below a task's group: an array's metadata or a data file; nothing that could lead elsewhere.
FileKey = Annotated[str, StringConstraints(pattern=r"^[a-z_]+/(zarr\.json|c(\.[0-9]{1,9}){1,2})$")]
Operation = Literal["select", "merge", "delete-episodes", "convert", "record", "relabel"]
#: A manifest in a store: whoever made the store wrote it.
StoredManifest = Annotated[Manifest, AfterValidator(Manifest.from_data)]
RecordedCount = Annotated[int, Field(ge=1, le=2**53)]


class FileRecord(StrictModel):
    """Size and digest of one file of a task, for checks that need no decoding."""

    bytes: int = Field(ge=0)
    sha256: Sha256


class ReturnStatistics(StrictModel):
    """Undiscounted returns of some episodes."""

    episodes: int
    mean: float
    std: float
    min: float
    max: float


class TaskStatistics(StrictModel):
    """Summaries that would otherwise have to be computed from all data.

    Attributes:
        returns: of all episodes.
        returns_by_behaviour: one entry per behaviour of the mixture; ``None`` where it has no episodes.
        success_rate: share of episodes with at least one successful step, where the family has success.
        observation_mean: [obs]; in older stores only: a root holds the statistics of all tasks.
        observation_std: [obs]; in older stores only.
    """

    returns: ReturnStatistics
    returns_by_behaviour: list[ReturnStatistics | None]
    success_rate: float | None
    observation_mean: list[float] | None = None
    observation_std: list[float] | None = None

    @model_serializer(mode="wrap")
    def _without_absent(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values: dict[str, Any] = handler(self)
        old = ("observation_mean", "observation_std")
        return {name: value for name, value in values.items() if name not in old or value is not None}


class TaskRecord(StrictModel):
    """Attributes of a task's group.

    Attributes:
        index: task index in the family.
        split: train, id or ood.
        parameters: the task's parameters.
        behaviours: the mixture that collected it, with the number of its episodes here; ``episode_behaviour``
            points into this list.
        episodes: E.
        transitions: N.
        statistics: summaries.
        arrays: array name -> sha-256 of its values (C order, little-endian), whatever the chunks or codecs.
        files: path below the group -> size and sha-256; every file but the group's own ``zarr.json``.
        discrete_actions: number of discrete actions, whose numbers ``action`` holds; ``None``: actions are
            vectors.
    """

    index: int = Field(ge=0)
    split: Split
    parameters: dict[Text, float | list[float]]
    behaviours: list[BehaviourEntry]
    episodes: RecordedCount
    transitions: RecordedCount
    statistics: TaskStatistics
    arrays: dict[str, Sha256]
    files: dict[FileKey, FileRecord]
    discrete_actions: Annotated[int, Field(ge=1, le=MOST_ACTIONS)] | None = None

    @model_serializer(mode="wrap")
    def _without_absent(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values: dict[str, Any] = handler(self)
        return {k: value for k, value in values.items() if (k, value) != ("discrete_actions", None)}

    def array_files(self, name: str) -> dict[str, FileRecord]:
        """The files of one array, by their names in the array's folder."""
        return self._files_by_array.get(name, {})

    @cached_property
    def _files_by_array(self) -> dict[str, dict[str, FileRecord]]:
        files: dict[str, dict[str, FileRecord]] = {}
        for key, file in self.files.items():
            array, _, name = key.partition("/")
            files.setdefault(array, {})[name] = file
        return files


class Provenance(StrictModel):
    """Where a store comes from.

    Attributes:
        created: time of the first collection, ISO 8601, UTC.
        command: command line, or the call, that collected it.
        packages: versions of clwm, Python, the simulators and the numerical libraries.
        platform: machine type and operating system: bits can differ between them.
    """

    created: Text
    command: Text
    packages: dict[Text, Text]
    platform: Text


class Origin(StrictModel):
    """Where a downloaded store was published.

    Attributes:
        repository: ``user/name`` of the dataset repository on the Hub.
        revision: commit that it was downloaded from.
        store: folder of the store in the repository.
        root_sha256: ``root_sha256`` of the published store, which may hold more tasks.
    """

    repository: Text
    revision: Text
    store: Text
    root_sha256: Sha256


class Source(StrictModel):
    """A store that another one was made from, as it was then.

    Attributes:
        name: of the dataset.
        content_sha256: digest of its data.
        manifest: its manifest.
        provenance: how it was collected; ``None`` for data of another format.
        edited: how it was itself made from others.
    """

    name: Text
    content_sha256: Sha256
    manifest: StoredManifest | None
    provenance: Provenance | None
    edited: Edit | None = None


class Edit(StrictModel):
    """How a store was made from others instead of being collected.

    Its manifest then only describes it: it cannot be collected again from that alone.

    Attributes:
        operation: what was done.
        options: what was asked for: option -> value as text.
        by: when, by which command and with which versions.
        sources: what it was made from, with their own histories.
    """

    operation: Operation
    options: dict[Text, Text]
    by: Provenance
    sources: list[Source]


class StoreRecord(StrictModel):
    """Attributes of the root group.

    Attributes:
        format: always ``clwm-store``.
        format_version: of this format.
        manifest: resolved: all tasks listed.
        provenance: how it was collected.
        origin: where it was downloaded from, or ``None`` where it was collected.
        edited: how it was made from other stores, or ``None`` where it was collected.
        tasks: task index -> sha-256 of the ``zarr.json`` of its group.
        content_sha256: digest over the digests of all arrays of all tasks: equal for equal data.
        root_sha256: digest of this ``zarr.json`` as canonical JSON without this entry.
    """

    format: str
    format_version: int
    manifest: StoredManifest
    provenance: Provenance
    origin: Origin | None = None
    edited: Edit | None = None
    tasks: dict[TaskKey, Sha256]
    content_sha256: Sha256
    root_sha256: Sha256


def task_folder(index: int) -> str:
    """Name of a task's group below ``tasks``."""
    return f"{index:04d}"


def file_name(position: tuple[int, ...]) -> str:
    """Name of an array's file at a position of its grid: ``c.0.2`` at (0, 2)."""
    return ".".join(["c", *map(str, position)])
