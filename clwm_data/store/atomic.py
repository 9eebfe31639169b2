"""Files and folders that are either whole or absent, whatever happens to the process or the machine."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def replacing(path: Path, aside: Path | None = None) -> Iterator[Path]:
    """A ``.partial`` path to write to; it becomes ``path`` when the block ends without an error.

    Args:
        path: the file to write or to replace.
        aside: existing folder for the unfinished file, on the same file system; by default that of ``path``.
    """
    temporary = (aside or path.parent) / f"{path.name}.{os.getpid()}.partial"
    try:
        yield temporary
        sync(temporary)
        temporary.replace(path)
        sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, value: Any, aside: Path | None = None) -> None:
    """Write JSON atomically; arguments as :func:`replacing`.

    Raises:
        ValueError: a NaN or an infinity in ``value``.
    """
    text = json.dumps(value, indent=1, allow_nan=False)
    with replacing(path, aside) as temporary:
        temporary.write_text(text, encoding="utf-8")


def move_folder(building: Path, target: Path) -> None:
    """Put a finished folder in its place in one step, after all of it is on the disk.

    Raises:
        OSError: ``target`` is there already, and not empty.
    """
    for path in building.rglob("*"):
        sync(path)
    sync(building)
    building.rename(target)
    sync(target.parent)


def sync(path: Path) -> None:
    """Have the disk hold a file's bytes, or a folder's entries, before anything that follows."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
