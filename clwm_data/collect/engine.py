"""Who rolls out segments: this process, or a pool of worker processes."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor
from concurrent.futures import wait as wait_for
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait
from pathlib import Path

from clwm_data.collect.plan import Segment
from clwm_data.collect.rollout import roll_out
from clwm_data.collect.staging import save_segment
from clwm_data.errors import ClwmError
from clwm_data.manifest import Manifest
from clwm_data.store.lock import hold_as_worker


def collect_segment(manifest: Manifest, store: Path, segment: Segment) -> Segment:
    """Roll out a segment and keep it."""
    save_segment(store, segment, roll_out(manifest, segment))
    return segment


def run_segments(manifest: Manifest, store: Path, queue: deque[Segment], workers: int) -> Iterator[Segment]:
    """Collect segments, yielding each when it is on disk; the bytes do not depend on ``workers``.

    Args:
        manifest: what to collect.
        store: where the segments are kept.
        queue: what to collect, first come first served; more may be put into it between two yields.
        workers: processes.
    """
    if workers == 1:
        while queue:
            yield collect_segment(manifest, store, queue.popleft())
        return
    # Spawned, not forked: simulators and codecs hold threads that do not survive a fork.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, initializer=_start_worker, initargs=(store,)) as pool:
        running: set[Future[Segment]] = set()
        try:
            while queue or running:
                # Few are handed out ahead, so that what is put in front of the queue is soon begun.
                while queue and len(running) < 2 * workers:
                    running.add(pool.submit(collect_segment, manifest, store, queue.popleft()))
                finished, running = wait_for(running, return_when=FIRST_COMPLETED)
                for future in finished:
                    yield future.result()
        except BrokenProcessPool as error:
            raise ClwmError(
                "a collection worker died (out of memory?): run the same command again with fewer workers; "
                "it resumes"
            ) from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _start_worker(store: Path) -> None:
    """End with the parent: a killed collector leaves no workers behind, and Ctrl-C is its business alone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is None:
        raise RuntimeError("a collection worker is started by the pool only")
    hold_as_worker(store)
    if not parent.is_alive():  # it was killed while this process started: another may write by now
        os._exit(1)
    sentinel = parent.sentinel

    def watch() -> None:
        wait([sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
