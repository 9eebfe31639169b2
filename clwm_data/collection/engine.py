"""What rolls out segments: this process, a pool of processes, or a Ray cluster."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future
from concurrent.futures import wait as wait_for
from pathlib import Path
from typing import Literal

from clwm_data.collection.plan import Segment
from clwm_data.collection.process_pool import process_pool
from clwm_data.collection.ray_pool import ray_pool
from clwm_data.collection.staging import segment_path
from clwm_data.collection.worker import collect_segment
from clwm_data.errors import UnavailableError
from clwm_data.manifest import Manifest

Engine = Literal["local", "ray"]

#: Longest delay with which a network file system may show what another machine wrote.
VISIBLE_SECONDS = 90.0


def run_segments(
    manifest: Manifest, store: Path, queue: deque[Segment], engine: Engine, workers: int | None
) -> Iterator[Segment]:
    """Collect segments, yielding each when it is on disk; the bytes depend on neither engine nor workers.

    Args:
        manifest: what to collect.
        store: where the segments are kept.
        queue: what to collect, in this order; more may be added to it between two yields.
        engine: ``local``: processes of this machine; ``ray``: tasks of a Ray cluster.
        workers: processes, or segments at a time; ``None``: one process, or as many as the cluster has CPUs.

    Raises:
        UnavailableError: Ray is not installed or not reachable, a worker died, or does not share this file
            system.
    """
    if engine == "local" and (workers or 1) == 1:
        while queue:
            yield collect_segment(manifest, store, queue.popleft())
        return
    chosen = (
        ray_pool(manifest, store, workers) if engine == "ray" else process_pool(manifest, store, workers or 1)
    )
    with chosen as pool:
        running: set[Future[Segment]] = set()
        while queue or running:
            while queue and len(running) < pool.ahead:
                running.add(pool.submit(queue.popleft()))
            finished, running = wait_for(running, return_when=FIRST_COMPLETED)
            for future in finished:
                segment = future.result()
                _await(segment_path(store, segment))
                yield segment


def _await(path: Path) -> None:
    """Wait until a file that another machine may have written is visible here."""
    deadline = time.monotonic() + VISIBLE_SECONDS
    while not path.is_file():
        if time.monotonic() > deadline:
            raise UnavailableError(
                f"{path}: a worker wrote it but it is not here: the store must lie on a file system that all "
                "machines share"
            )
        list(path.parent.parent.iterdir())  # makes a network file system look again
        time.sleep(0.05)
