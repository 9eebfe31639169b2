"""Exclusive locks between processes; the operating system releases them when the holder dies.

Some network file systems have no locks (ENOSYS, ENOLCK, EOPNOTSUPP). There a second file, ``<name>.held``, is
the lock as long as it exists. One that was left by a process killed on this machine is recognised and
replaced; one left on another machine has to be deleted by hand.
"""

from __future__ import annotations

import errno
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from clwm_data.errors import ConflictError

if TYPE_CHECKING:
    from filelock import SoftFileLock

#: Errors of a file system without locks.
UNSUPPORTED = frozenset({errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP})
POLL_SECONDS = 0.02
#: How often a lock file that its holder has just deleted is created again.
ATTEMPTS = 5


class Lock:
    """An exclusive lock on a file, which is created if it does not exist.

    Attributes:
        path: the file. Assign the new path after a folder above it was renamed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = None
        self._marker: SoftFileLock | None = None

    def acquire(self) -> bool:
        """Try once to take the lock.

        Returns:
            Whether it is held now. If not, another process, or another ``Lock`` of this one, holds it.

        Raises:
            OSError: the file cannot be opened.
        """
        for _ in range(ATTEMPTS):
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
            try:
                acquired = try_lock(descriptor)
            except OSError as error:
                os.close(descriptor)
                if error.errno not in UNSUPPORTED:
                    raise
                return self._acquire_marker()
            if acquired and _is_same_file(self.path, descriptor):
                self._descriptor = descriptor
                return True
            os.close(descriptor)
            if not acquired:
                return False
        return False

    def release(self, *, remove: bool = False) -> None:
        """Release the lock, and delete its file if asked to."""
        if self._descriptor is not None:
            removable = remove and _is_same_file(self.path, self._descriptor)
            if removable and sys.platform != "win32":
                with suppress(OSError):
                    self.path.unlink()
            os.close(self._descriptor)
            self._descriptor = None
            if removable and sys.platform == "win32":  # which does not remove what is open
                with suppress(OSError):
                    self.path.unlink()
        if self._marker is not None:
            self._marker.release()
            self._marker = None
            if remove:
                self.path.unlink(missing_ok=True)

    def _acquire_marker(self) -> bool:
        from filelock import SoftFileLock, Timeout

        marker = SoftFileLock(f"{self.path}.held", thread_local=False)
        try:
            marker.acquire(blocking=False)
        except Timeout:
            return False
        self._marker = marker
        return True


@contextmanager
def exclusive(
    path: Path,
    busy: str,
    *,
    seconds: float = 0.0,
    on_wait: Callable[[], object] | None = None,
    remove: bool = False,
) -> Iterator[Lock]:
    """Hold a lock for the length of a block.

    Args:
        path: the lock file; its folder is created if it does not exist.
        busy: message of the error if another process holds the lock for too long.
        seconds: how long to wait for it; ``math.inf``: until it is free.
        on_wait: called once if the lock is not free immediately.
        remove: delete the file at the end.

    Raises:
        ConflictError: another process holds the lock.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = Lock(path)
    deadline = time.monotonic() + seconds
    waiting = False
    while not lock.acquire():
        if time.monotonic() >= deadline:
            raise ConflictError(busy)
        if not waiting and on_wait is not None:
            on_wait()
        waiting = True
        time.sleep(POLL_SECONDS)
    try:
        yield lock
    finally:
        lock.release(remove=remove)


def try_lock(descriptor: int) -> bool:
    """Try once to lock an open file; it is released when the descriptor is closed.

    Raises:
        OSError: the file system has no locks.
    """
    from filelock import lock_descriptor  # here: whoever only reads takes no lock

    return lock_descriptor(descriptor, blocking=False)


def _is_same_file(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
