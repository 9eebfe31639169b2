"""What a collection keeps on disk until a task is complete: finished segments."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from clwm_data.collect.plan import Segment
from clwm_data.errors import ClwmError
from clwm_data.store.arrays import Episode, TaskArrays
from clwm_data.store.atomic import replacing
from clwm_data.store.format import STAGING, task_folder


def segment_path(store: Path, segment: Segment) -> Path:
    """Where a finished segment lies."""
    return store / STAGING / task_folder(segment.task) / segment.name


def save_segment(store: Path, segment: Segment, episodes: list[Episode]) -> None:
    """Keep a finished segment: the file is whole or absent."""
    path = segment_path(store, segment)
    path.parent.mkdir(parents=True, exist_ok=True)
    named = TaskArrays.from_episodes(episodes).named()
    with replacing(path) as temporary, temporary.open("wb") as stream:
        np.savez(stream, **named)  # type: ignore[arg-type]


def load_segment(store: Path, segment: Segment) -> list[Episode]:
    """The episodes of a finished segment.

    Raises:
        ClwmError: the file is damaged.
    """
    with _opened(store, segment) as loaded:
        return list(TaskArrays(**{f.name: loaded.get(f.name) for f in fields(TaskArrays)}))


def segment_lengths(store: Path, segment: Segment) -> list[int]:
    """Transitions of each episode of a finished segment.

    Raises:
        ClwmError: the file is damaged.
    """
    with _opened(store, segment) as loaded:
        lengths: list[int] = loaded["episode_length"].tolist()
    return lengths


@contextmanager
def _opened(store: Path, segment: Segment) -> Iterator[Any]:
    path = segment_path(store, segment)
    try:
        with np.load(path, allow_pickle=False) as loaded:
            yield loaded
    except (OSError, ValueError, TypeError, KeyError, zipfile.BadZipFile) as error:
        raise ClwmError(f"{path}: segment is damaged: delete this file and collect again") from error
