"""One writer per store: a process, with the workers that it starts."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from clwm_data.errors import ClwmError
from clwm_data.store.format import STAGING

#: How long workers may take to notice that their collector was killed.
ORPHANS_SECONDS = 60.0


@contextmanager
def locked(store: Path) -> Iterator[None]:
    """Hold the right to write to a store; the operating system gives it up when the process dies.

    Raises:
        ClwmError: another process holds it.
    """
    path = _lock(store)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ClwmError(f"{store}: another process is writing to it: wait until it ends") from error
        if not _is(path, stream.fileno()):
            # The holder finished and removed its staging folder between our open and our lock.
            raise ClwmError(f"{store}: another process has just written to it: run the command again")
        _await_orphans(store)
        try:
            yield
        finally:
            if _is(path, stream.fileno()):  # else the store was moved away, with this lock in it
                _workers(store).unlink(missing_ok=True)
                path.unlink()
            with suppress(OSError):  # it is not empty, or gone
                path.parent.rmdir()


def hold_as_worker(store: Path) -> None:
    """Keep others from writing to a store until this process ends, even if the collector is killed."""
    descriptor = os.open(_workers(store), os.O_CREAT | os.O_RDWR)
    fcntl.flock(descriptor, fcntl.LOCK_SH)  # never closed: the end of the process gives it up


@contextmanager
def working_on(store: Path) -> Iterator[None]:
    """The same for the length of a block, in a process that other work outlives."""
    with _workers(store).open("a") as stream:
        fcntl.flock(stream, fcntl.LOCK_SH)
        yield


def is_locked(store: Path) -> bool:
    """Whether some process writes to a store, as seen from here."""
    return _lock(store).is_file()


def _await_orphans(store: Path) -> None:
    """Wait for the workers of a collector that was killed; they end by themselves as soon as they notice."""
    deadline = time.monotonic() + ORPHANS_SECONDS
    with suppress(FileNotFoundError), _workers(store).open() as stream:
        while True:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError as error:
                if time.monotonic() > deadline:
                    raise ClwmError(f"{store}: workers of a killed process write to it: end them") from error
                time.sleep(0.02)


def _lock(store: Path) -> Path:
    return store / STAGING / "lock"


def _workers(store: Path) -> Path:
    return store / STAGING / "workers"


def _is(path: Path, descriptor: int) -> bool:
    try:
        return path.stat().st_ino == os.fstat(descriptor).st_ino
    except FileNotFoundError:
        return False
