"""The store's format, version 1: names, layout and metadata (docs/format.md says it for other languages)."""

from __future__ import annotations

from pydantic import Field

from clwm_data.families.base import Split
from clwm_data.manifest import BehaviourEntry, Manifest
from clwm_data.strict import StrictModel

FORMAT = "clwm-store"
FORMAT_VERSION = 1

METADATA = "zarr.json"
TASKS = "tasks"
#: Folder inside a store that holds what is not a part of it yet: finished segments, the lock.
STAGING = ".collect"

#: Rows are cut into chunks of about this size, and chunks gathered into shards (files) of at most this size.
CHUNK_BYTES = 2**20
SHARD_BYTES = 2**28


class FileRecord(StrictModel):
    """Size and digest of one file of a task, for checks that need no decoding."""

    bytes: int = Field(ge=0)
    sha256: str


class ReturnStatistics(StrictModel):
    """Undiscounted returns of some episodes."""

    episodes: int
    mean: float
    std: float
    min: float
    max: float


class TaskStatistics(StrictModel):
    """Summaries that would otherwise need all data.

    Attributes:
        returns: of all episodes.
        returns_by_behaviour: one entry per behaviour of the mixture; ``None`` where it has no episodes.
        success_rate: share of episodes with at least one successful step, where the family has success.
        observation_mean: [obs].
        observation_std: [obs].
    """

    returns: ReturnStatistics
    returns_by_behaviour: list[ReturnStatistics | None]
    success_rate: float | None
    observation_mean: list[float]
    observation_std: list[float]


class TaskRecord(StrictModel):
    """Attributes of a task's group.

    Attributes:
        index: task index in the family.
        split: train, id or ood.
        parameters: the task's parameters.
        behaviours: the mixture that collected it; ``episode_behaviour`` points into this list.
        episodes: E.
        transitions: N.
        statistics: summaries.
        arrays: array name -> sha-256 of its values (C order, little-endian), whatever the chunks or codecs.
        files: path below the group -> size and sha-256; every file but the group's own ``zarr.json``.
    """

    index: int = Field(ge=0)
    split: Split
    parameters: dict[str, float | list[float]]
    behaviours: list[BehaviourEntry]
    episodes: int = Field(ge=1)
    transitions: int = Field(ge=1)
    statistics: TaskStatistics
    arrays: dict[str, str]
    files: dict[str, FileRecord]


class Provenance(StrictModel):
    """Where a store comes from.

    Attributes:
        created: time of the first collection, ISO 8601, UTC.
        command: command line, or the call, that collected it.
        packages: versions of clwm, Python, the simulators and the numerical libraries.
        platform: machine type and operating system: bits can differ between them.
    """

    created: str
    command: str
    packages: dict[str, str]
    platform: str


class StoreRecord(StrictModel):
    """Attributes of the root group.

    Attributes:
        format: always ``clwm-store``.
        format_version: of this format.
        manifest: resolved: all tasks listed.
        provenance: where it comes from.
        tasks: task index -> sha-256 of the ``zarr.json`` of its group.
        content_sha256: digest over the digests of all arrays of all tasks: equal for equal data.
        root_sha256: digest of this ``zarr.json`` as canonical JSON without this entry.
    """

    format: str
    format_version: int
    manifest: Manifest
    provenance: Provenance
    tasks: dict[str, str]
    content_sha256: str
    root_sha256: str


def task_folder(index: int) -> str:
    """Name of a task's group below ``tasks``."""
    return f"{index:04d}"
