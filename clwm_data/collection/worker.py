"""What a worker does, wherever it runs, and how a collector distributes work."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

from clwm_data.collection.plan import Segment
from clwm_data.collection.rollout import roll_out
from clwm_data.collection.staging import save_segment
from clwm_data.manifest import Manifest


@dataclass(frozen=True)
class Pool:
    """Workers that take segments.

    Attributes:
        submit: submits a segment; the future is done when the segment is on disk.
        ahead: how many segments to submit before the first is done. Few, so that segments put in front of
            the queue are begun soon; enough to keep every worker busy.
    """

    submit: Callable[[Segment], Future[Segment]]
    ahead: int


def collect_segment(manifest: Manifest, store: Path, segment: Segment) -> Segment:
    """Roll out a segment and write it to the disk."""
    save_segment(store, segment, roll_out(manifest, segment))
    return segment
