"""One process at a time trains a run.

Evaluations and analyses need no lock: each is a separate file that is written atomically.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from clwm_data.locks import exclusive

#: Paths of the locks held, per thread.
_held = threading.local()


@contextmanager
def run_lock(run: Path, *, patience: float = 0.0) -> Iterator[None]:
    """Hold the lock to train a run; the operating system releases it when the process dies.

    A thread that holds it may take it again, so a sweep that holds a run can train it. The lock file lies
    beside the run's folder, which need not exist yet, and is removed at the end.

    Args:
        run: the run's folder.
        patience: seconds to wait for another process.

    Raises:
        ConflictError: another process, or another thread, holds it.
    """
    resolved = run.resolve()
    path = resolved.with_name(f".{resolved.name}.lock")
    paths: set[Path] = _held.__dict__.setdefault("paths", set())
    if path in paths:
        yield
        return
    new_folder = not path.parent.exists()
    busy = f"{run}: another process is working on this run: wait until it ends"
    try:
        with exclusive(path, busy, seconds=patience, remove=True):
            paths.add(path)
            try:
                yield
            finally:
                paths.remove(path)
    finally:
        if new_folder:
            with suppress(OSError):  # the run is in it
                path.parent.rmdir()
