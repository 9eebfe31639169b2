"""Writing a store: whole tasks, each visible only when it is complete."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import BytesCodec, ZstdCodec

from clwm_data.families.base import Task, with_lists
from clwm_data.manifest import BehaviourEntry, Storage
from clwm_data.store.arrays import DIMENSIONS, TaskArrays
from clwm_data.store.atomic import move_folder, write_json
from clwm_data.store.digest import array_sha256, file_sha256
from clwm_data.store.format import (
    CHUNK_BYTES,
    METADATA,
    SHARD_BYTES,
    STAGING,
    TASKS,
    FileRecord,
    TaskRecord,
    task_folder,
)
from clwm_data.store.litter import task_files
from clwm_data.store.statistics import task_statistics


def write_task(
    store: Path,
    task: Task,
    behaviours: Sequence[BehaviourEntry],
    arrays: TaskArrays,
    storage: Storage,
    *,
    chunk_bytes: int = CHUNK_BYTES,
    shard_bytes: int = SHARD_BYTES,
) -> None:
    """Write a task's group: built aside and moved into place in one step.

    The task becomes a part of the store with the next root (:mod:`clwm_data.store.root_writer`). Chunks and
    shards (files) have about ``chunk_bytes`` and ``shard_bytes`` before compression.

    Raises:
        OSError: the task is there already, or the disk is full.
    """
    folder = task_folder(task.index)
    building = store / STAGING / f"{folder}.partial"
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir(parents=True)
    named = arrays.named()
    for name, array in named.items():
        _write_array(building / name, array, storage, chunk_bytes, shard_bytes)
    record = TaskRecord(
        index=task.index,
        split=task.split,
        parameters=with_lists(task.parameters),
        behaviours=list(behaviours),
        episodes=arrays.episodes,
        transitions=arrays.transitions,
        statistics=task_statistics(arrays, len(behaviours)),
        arrays={name: array_sha256(array) for name, array in named.items()},
        files=file_records(building),
        discrete_actions=arrays.action.shape[1] if arrays.discrete else None,
    )
    group = {"zarr_format": 3, "node_type": "group", "attributes": record.model_dump(mode="json")}
    write_json(building / METADATA, group)
    target = store / TASKS / folder
    target.parent.mkdir(exist_ok=True)
    move_folder(building, target)


def file_records(group: Path) -> dict[str, FileRecord]:
    """Size and digest of every file below a task's group, except its own ``zarr.json``."""
    return {
        path: FileRecord(bytes=(group / path).stat().st_size, sha256=file_sha256(group / path))
        for path in sorted(task_files(group), key=lambda path: path.split("/"))
        if path != METADATA
    }


def _write_array(
    path: Path, array: NDArray[Any], storage: Storage, chunk_bytes: int, shard_bytes: int
) -> None:
    row_bytes = max(1, array.nbytes // len(array))
    # Chunks of equal size: the last one is padded, by less than a row per chunk.
    chunk_rows = -(-len(array) // -(-len(array) // max(1, chunk_bytes // row_bytes)))
    chunks = (chunk_rows, *array.shape[1:])
    shards = None
    if len(array) > chunk_rows:
        per_shard = min(-(-len(array) // chunk_rows), max(1, shard_bytes // (chunk_rows * row_bytes)))
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
            dimension_names=DIMENSIONS[path.name][: array.ndim],
            # Chunks of zeros too: a file that is not there then always means damage.
            config={"write_empty_chunks": True},
        )
        stored[...] = array
