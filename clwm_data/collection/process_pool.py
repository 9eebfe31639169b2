"""Segments rolled out by processes of this machine."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path

from clwm_data.collection.worker import Pool, collect_segment
from clwm_data.errors import UnavailableError
from clwm_data.manifest import Manifest
from clwm_data.store.lock import hold_as_worker
from clwm_data.workers import end_with_parent


@contextmanager
def process_pool(manifest: Manifest, store: Path, workers: int) -> Iterator[Pool]:
    """A pool of workers for the length of a block.

    Raises:
        UnavailableError: a worker died.
    """
    # Spawned, not forked: simulators and codecs hold threads that do not survive a fork.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, initializer=_start_worker, initargs=(store,)) as executor:
        try:
            yield Pool(
                lambda segment: executor.submit(collect_segment, manifest, store, segment), 2 * workers
            )
        except BrokenProcessPool as error:
            raise UnavailableError(
                "a collection worker died: the same again resumes it; use fewer workers if memory ran out "
                '(a script that starts workers needs `if __name__ == "__main__":`)'
            ) from error
        finally:
            executor.shutdown(wait=True, cancel_futures=True)


def _start_worker(store: Path) -> None:
    # Held before the parent is checked: the collector that follows a killed one waits for its workers.
    hold_as_worker(store)
    end_with_parent()
