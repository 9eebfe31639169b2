"""What a collection keeps on disk until a task is complete: finished segments.

A file is an ``.npz`` archive followed by its SHA-256, which is compared before anything is parsed.
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from clwm_data.collection.plan import Segment
from clwm_data.errors import DamagedDataError
from clwm_data.store.arrays import Episode, TaskArrays
from clwm_data.store.atomic import replacing
from clwm_data.store.format import STAGING, task_folder

DIGEST_BYTES = hashlib.sha256().digest_size


def segment_path(store: Path, segment: Segment) -> Path:
    """Where a finished segment lies."""
    return store / STAGING / task_folder(segment.task) / segment.name


def save_segment(store: Path, segment: Segment, episodes: list[Episode]) -> None:
    """Keep a finished segment: the file is whole or absent."""
    path = segment_path(store, segment)
    path.parent.mkdir(parents=True, exist_ok=True)
    archive = io.BytesIO()
    named: dict[str, Any] = dict(TaskArrays.from_episodes(episodes).named())
    np.savez(archive, **named)
    content = archive.getbuffer()
    with replacing(path) as temporary, temporary.open("wb") as stream:
        stream.write(content)
        stream.write(hashlib.sha256(content).digest())


def is_sound(store: Path, segment: Segment) -> bool:
    """Whether a segment is finished, and its file is as it was written."""
    try:
        _content(store, segment)
    except (DamagedDataError, FileNotFoundError):
        return False
    return True


def load_segment(store: Path, segment: Segment) -> list[Episode]:
    """The episodes of a finished segment.

    Raises:
        DamagedDataError: the file is damaged.
    """
    with np.load(_content(store, segment), allow_pickle=False) as loaded:
        return list(TaskArrays(**{f.name: loaded.get(f.name) for f in fields(TaskArrays)}))


def segment_lengths(store: Path, segment: Segment) -> list[int]:
    """Transitions of each episode of a finished segment.

    Raises:
        DamagedDataError: the file is damaged.
    """
    with np.load(_content(store, segment), allow_pickle=False) as loaded:
        lengths: list[int] = loaded["episode_length"].tolist()
    return lengths


def _content(store: Path, segment: Segment) -> io.BytesIO:
    path = segment_path(store, segment)
    content = path.read_bytes()
    archive, digest = content[:-DIGEST_BYTES], content[-DIGEST_BYTES:]
    if hashlib.sha256(archive).digest() != digest:
        raise DamagedDataError(
            f"{path}: segment is damaged: run the same command again, which collects it anew"
        )
    return io.BytesIO(archive)
