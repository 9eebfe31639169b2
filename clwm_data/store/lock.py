"""One writer per store: a process, with the workers that it starts."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from clwm_data.locks import Lock, exclusive
from clwm_data.store.format import STAGING

#: How long workers may take to notice that their collector was killed.
ORPHANS_SECONDS = 60.0
#: File in the staging folder of a store that is about to be replaced; the next writer removes it.
OUTDATED = "outdated"

_WORKER = "worker-"
#: Locks of this process as a worker: held until it ends.
_HELD: list[Lock] = []


class StoreLock:
    """The right to write to a store.

    Attributes:
        store: folder of the store, wherever it is moved to.
    """

    def __init__(self, store: Path, lock: Lock) -> None:
        self.store = store
        self._lock = lock

    def moved_to(self, store: Path) -> None:
        """Record that the store, and the lock in it, was moved."""
        self.store = store
        self._lock.path = lock_file(store)


@contextmanager
def locked(store: Path, *, name: str | None = None) -> Iterator[StoreLock]:
    """Hold the right to write to a store, whose folder is created if it does not exist.

    Args:
        store: its folder.
        name: how to name it in the message; its path by default.

    Raises:
        ConflictError: another process writes to it.
    """
    path = lock_file(store)
    busy = f"{name or store}: another process is writing to it: wait until it ends"
    held: StoreLock | None = None
    try:
        with exclusive(path, busy, remove=True) as lock:
            held = StoreLock(store, lock)
            (path.parent / OUTDATED).unlink(missing_ok=True)
            _await_orphans(store)
            try:
                yield held
            finally:
                for worker in _workers(held.store):
                    worker.unlink(missing_ok=True)
    finally:
        if held is not None:
            with suppress(OSError):  # it is not empty, or gone
                lock_file(held.store).parent.rmdir()


def hold_as_worker(store: Path) -> None:
    """Keep others from writing to a store until this process ends, even if its collector is killed."""
    lock = Lock(_worker_file(store))
    lock.acquire()
    _HELD.append(lock)


@contextmanager
def working_on(store: Path) -> Iterator[None]:
    """As :func:`hold_as_worker`, for the length of a block, in a process that outlives the collection."""
    with exclusive(_worker_file(store), f"{store}: its lock cannot be taken", remove=True):
        yield


def is_locked(store: Path) -> bool:
    """Whether some process writes to a store, as seen from this machine."""
    return lock_file(store).is_file()


def lock_file(store: Path) -> Path:
    """Where the lock of a store lies."""
    return store / STAGING / "lock"


def _worker_file(store: Path) -> Path:
    return store / STAGING / f"{_WORKER}{os.getpid()}-{secrets.token_hex(4)}"


def _workers(store: Path) -> list[Path]:
    return sorted((store / STAGING).glob(f"{_WORKER}*"))


def _await_orphans(store: Path) -> None:
    """Wait for the workers of a collector that was killed; they end by themselves as soon as they notice."""
    deadline = time.monotonic() + ORPHANS_SECONDS
    for path in _workers(store):
        if path.suffix == ".held":
            continue  # removed with the file that it belongs to
        left = max(0.0, deadline - time.monotonic())
        busy = f"{store}: workers of a killed process write to it: end them (their lock is {path.name})"
        with suppress(FileNotFoundError), exclusive(path, busy, seconds=left, remove=True):
            pass
