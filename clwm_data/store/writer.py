"""Writing a store: whole tasks, each visible only when it is complete."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import BytesCodec, ZstdCodec

from clwm_data.families.base import Task
from clwm_data.manifest import BehaviourEntry, Manifest, Storage
from clwm_data.store.arrays import TaskArrays
from clwm_data.store.atomic import move_folder, write_json
from clwm_data.store.digest import array_sha256, file_sha256, json_sha256
from clwm_data.store.format import (
    CHUNK_BYTES,
    FORMAT,
    FORMAT_VERSION,
    METADATA,
    SHARD_BYTES,
    STAGING,
    TASKS,
    Edit,
    FileRecord,
    Origin,
    Provenance,
    StoreRecord,
    TaskRecord,
    task_folder,
)
from clwm_data.store.litter import task_files
from clwm_data.store.statistics import task_statistics


def write_task(
    store: Path, task: Task, behaviours: Sequence[BehaviourEntry], arrays: TaskArrays, storage: Storage
) -> None:
    """Write a task's group: built aside and moved into place in one step.

    The task becomes a part of the store with the next :func:`write_root`.

    Raises:
        OSError: the task is there already, or the disk is full.
    """
    folder = task_folder(task.index)
    building = store / STAGING / f"{folder}.partial"
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir(parents=True)
    named = arrays.named()
    for name, array in named.items():
        _write_array(building / name, array, storage)
    record = TaskRecord(
        index=task.index,
        split=task.split,
        parameters={
            key: list(value) if isinstance(value, tuple) else value for key, value in task.parameters.items()
        },
        behaviours=list(behaviours),
        episodes=arrays.episodes,
        transitions=arrays.transitions,
        statistics=task_statistics(arrays, len(behaviours)),
        arrays={name: array_sha256(array) for name, array in named.items()},
        files=file_records(building),
    )
    group = {"zarr_format": 3, "node_type": "group", "attributes": record.model_dump(mode="json")}
    write_json(building / METADATA, group)
    target = store / TASKS / folder
    target.parent.mkdir(exist_ok=True)
    move_folder(building, target)


def write_root(
    store: Path,
    manifest: Manifest,
    provenance: Provenance,
    origin: Origin | None = None,
    edited: Edit | None = None,
) -> StoreRecord:
    """Write the root ``zarr.json``: the index of the task groups there, and consolidated metadata.

    Unfinished files lie in the staging folder only, which is no part of the store: a process that is killed
    leaves nothing in it that does not belong there.

    Args:
        store: folder of the store.
        manifest: resolved; it may list tasks that are not there.
        provenance: how the tasks were collected.
        origin: where all of them were downloaded from.
        edited: how the store was made from others.
    """
    staging = store / STAGING
    staging.mkdir(exist_ok=True)
    tasks: dict[str, str] = {}
    records: dict[str, TaskRecord] = {}
    nodes: dict[str, Any] = {}
    if (store / TASKS).is_dir():
        nodes[TASKS] = {"zarr_format": 3, "node_type": "group", "attributes": {}}
        write_json(store / TASKS / METADATA, nodes[TASKS], aside=staging)
        for group in sorted(path.parent for path in (store / TASKS).glob(f"*/{METADATA}")):
            node = json.loads((group / METADATA).read_text(encoding="utf-8"))
            record = TaskRecord.model_validate(node["attributes"])
            tasks[str(record.index)] = file_sha256(group / METADATA)
            records[str(record.index)] = record
            nodes[f"{TASKS}/{group.name}"] = node
            for array in sorted(record.arrays):
                text = (group / array / METADATA).read_text(encoding="utf-8")
                nodes[f"{TASKS}/{group.name}/{array}"] = json.loads(text)
    attributes = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "manifest": manifest.model_dump(mode="json"),
        "provenance": provenance.model_dump(mode="json"),
        **({} if origin is None else {"origin": origin.model_dump(mode="json")}),
        **({} if edited is None else {"edited": edited.model_dump(mode="json")}),
        "tasks": tasks,
        "content_sha256": content_sha256(records),
    }
    root: dict[str, Any] = {
        "zarr_format": 3,
        "node_type": "group",
        "attributes": attributes,
        "consolidated_metadata": {"kind": "inline", "must_understand": False, "metadata": nodes},
    }
    attributes["root_sha256"] = root_sha256(root)
    write_json(store / METADATA, root, aside=staging)
    with suppress(OSError):  # a collection goes on and needs it
        staging.rmdir()
    return StoreRecord.model_validate(attributes)


def content_sha256(records: Mapping[str, TaskRecord]) -> str:
    """Digest of all values of a store: over the array digests of its tasks."""
    return json_sha256({index: record.arrays for index, record in records.items()})


def root_sha256(root: Mapping[str, Any]) -> str:
    """Digest of a root ``zarr.json`` without its own entry."""
    attributes = {key: value for key, value in root["attributes"].items() if key != "root_sha256"}
    return json_sha256({**root, "attributes": attributes})


def file_records(group: Path) -> dict[str, FileRecord]:
    """Size and digest of every file below a task's group, except its own ``zarr.json``."""
    return {
        path.relative_to(group).as_posix(): FileRecord(bytes=path.stat().st_size, sha256=file_sha256(path))
        for path in sorted(task_files(group))
        if path != group / METADATA
    }


def _write_array(path: Path, array: NDArray[Any], storage: Storage) -> None:
    row_bytes = max(1, array.nbytes // len(array))
    # Chunks of equal size: the last one is padded, by less than a row per chunk.
    chunk_rows = -(-len(array) // -(-len(array) // max(1, CHUNK_BYTES // row_bytes)))
    chunks = (chunk_rows, *array.shape[1:])
    shards = None
    if len(array) > chunk_rows:
        per_shard = min(-(-len(array) // chunk_rows), max(1, SHARD_BYTES // (chunk_rows * row_bytes)))
        shards = (per_shard * chunk_rows, *array.shape[1:])
    compress = array.dtype == np.bool_ or storage.compression == "zstd"
    # Always zarr's own pipeline: an accelerated one may leave chunks of zeros out, and its bytes may differ.
    with zarr.config.set({"codec_pipeline.path": "zarr.core.codec_pipeline.BatchedCodecPipeline"}):
        stored = zarr.create_array(
            store=path,
            shape=array.shape,
            dtype=array.dtype,
            chunks=chunks,
            shards=shards,
            compressors=[ZstdCodec(level=3)] if compress else None,
            serializer=BytesCodec(endian=None if array.dtype.itemsize == 1 else "little"),
            chunk_key_encoding={"name": "default", "separator": "."},
            fill_value=0,
            # Chunks of zeros too: a file that is not there then always means damage.
            config={"write_empty_chunks": True},
        )
        stored[...] = array
