"""Whether a file has changed since it was read: part of the key of caches of files."""

from __future__ import annotations

from pathlib import Path

#: Inode, time of the last change in nanoseconds, and size; ``None`` where there is no file.
FileState = tuple[int, int, int] | None


def file_state(path: Path) -> FileState:
    """The state of a file, which changes whenever it is written or replaced."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size
