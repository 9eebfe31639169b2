"""What a worker does, wherever it runs, and how a collector hands out such work."""

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
        submit: hands out a segment; the future is done when the segment is on disk.
        ahead: segments to hand out before the first is done. Few, so that what is put in front of a queue is
            soon begun; enough to keep every worker busy.
    """

    submit: Callable[[Segment], Future[Segment]]
    ahead: int


def collect_segment(manifest: Manifest, store: Path, segment: Segment) -> Segment:
    """Roll out a segment and keep it."""
    save_segment(store, segment, roll_out(manifest, segment))
    return segment
