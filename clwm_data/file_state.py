"""Whether a file is still as it was read: what caches of files go by, beside the path."""

from __future__ import annotations

from pathlib import Path

#: Inode, time of the last change in nanoseconds, and size; ``None`` where there is no file.
FileState = tuple[int, int, int] | None


def file_state(path: Path) -> FileState:
    """What changes whenever a file is written, or replaced by another."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size
