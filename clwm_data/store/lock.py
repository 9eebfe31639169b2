"""One writer per store."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from clwm_data.errors import ClwmError
from clwm_data.store.format import STAGING


@contextmanager
def locked(store: Path) -> Iterator[None]:
    """Hold the right to write to a store; the operating system gives it up when the process dies.

    Raises:
        ClwmError: another process holds it.
    """
    path = store / STAGING / "lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ClwmError(f"{store}: another process is writing to it: wait until it ends") from error
        if not _is(path, stream.fileno()):
            # The holder finished and removed its staging folder between our open and our lock.
            raise ClwmError(f"{store}: another process has just written to it: run the command again")
        try:
            yield
        finally:
            if _is(path, stream.fileno()):  # else the store was moved away, with this lock in it
                path.unlink()
            with suppress(OSError):  # it is not empty, or gone
                path.parent.rmdir()


def _is(path: Path, descriptor: int) -> bool:
    try:
        return path.stat().st_ino == os.fstat(descriptor).st_ino
    except FileNotFoundError:
        return False
