"""Finished segments, which a collection keeps on disk in sealed files until their task is complete."""

from __future__ import annotations

import json
from pathlib import Path

from clwm_data.bounded import read_bounded
from clwm_data.collection.plan import Segment
from clwm_data.errors import ClwmError, DamagedDataError
from clwm_data.store.arrays import Episode, TaskArrays
from clwm_data.store.format import METADATA, STAGING, TASKS, task_folder
from clwm_data.store.sealed import check_sealed, open_sealed, write_sealed

ADVICE = "run the same command again, which collects it again"


def is_unbegun(store: Path) -> bool:
    """Whether a store has neither a task nor a finished segment; ``False`` if its root cannot be read."""
    try:
        listed = json.loads(read_bounded(store / METADATA))["attributes"]["tasks"]
    except (OSError, ValueError, LookupError, TypeError, ClwmError):
        return False
    segments = (path for path in (store / STAGING).glob("*/*") if path.suffix != ".partial")
    return not listed and not any((store / TASKS).glob(f"*/{METADATA}")) and not any(segments)


def segment_path(store: Path, segment: Segment) -> Path:
    """Path of a finished segment."""
    return store / STAGING / task_folder(segment.task) / segment.name


def save_segment(store: Path, segment: Segment, episodes: list[Episode]) -> None:
    """Write a finished segment: its file is either whole or absent."""
    path = segment_path(store, segment)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_sealed(path, TaskArrays.from_episodes(episodes).sealed())


def is_sound(store: Path, segment: Segment) -> bool:
    """Whether a segment is finished, and its file intact."""
    try:
        check_sealed(segment_path(store, segment), ADVICE)
    except (DamagedDataError, FileNotFoundError):
        return False
    return True


def load_segment(store: Path, segment: Segment) -> list[Episode]:
    """The episodes of a finished segment.

    Raises:
        DamagedDataError: the file is damaged.
    """
    with open_sealed(segment_path(store, segment), ADVICE) as loaded:
        return list(TaskArrays.unsealed(loaded))


def segment_lengths(store: Path, segment: Segment) -> list[int]:
    """Transitions of each episode of a finished segment.

    Raises:
        DamagedDataError: the file is damaged.
    """
    with open_sealed(segment_path(store, segment), ADVICE) as loaded:
        lengths: list[int] = loaded["episode_length"].tolist()
    return lengths
