"""Files and folders that are either whole or absent, whatever happens to the process or to the machine.

Everything here writes beside the target, syncs what was written, renames it, and syncs the folders whose
entries changed: only then can a power cut no longer undo the rename.
"""

from __future__ import annotations

import errno
import glob
import json
import os
import secrets
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from clwm_data.locks import try_lock
from clwm_data.store.exchange import exchange

#: Errors of file systems that cannot sync a folder.
UNSUPPORTED = frozenset({errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EBADF})
#: Unfinished files are locked by their writers. On Windows they could then be neither written nor renamed.
LOCKS_UNFINISHED = sys.platform != "win32"


@contextmanager
def replacing(path: Path, aside: Path | None = None) -> Iterator[Path]:
    """An unfinished file to write to; it becomes ``path`` when the block ends without an error.

    Unfinished versions of ``path`` that killed processes left behind are removed.

    Args:
        path: the file to write or to replace.
        aside: existing folder for the unfinished file, on the same file system; by default that of ``path``.
    """
    folder = aside or path.parent
    _remove_unfinished(folder, path.name)
    temporary, descriptor = _begin(folder, path.name)
    try:
        yield temporary
        sync(temporary)
        if descriptor is not None and not LOCKS_UNFINISHED:
            os.close(descriptor)
            descriptor = None
        move(temporary, path)
    finally:
        if descriptor is not None:
            os.close(descriptor)
        temporary.unlink(missing_ok=True)  # Windows does not remove what is open


def write_json(path: Path, value: Any, aside: Path | None = None) -> None:
    """Write JSON atomically; arguments as :func:`replacing`.

    Raises:
        ValueError: a NaN or an infinity in ``value``.
    """
    text = json.dumps(value, indent=1, allow_nan=False)
    with replacing(path, aside) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def move_folder(building: Path, target: Path) -> None:
    """Put a finished folder in its place in one step, after all of it is on the disk.

    Raises:
        OSError: ``target`` exists already, and is not empty.
    """
    sync_tree(building)
    move(building, target)


def replace_folder(building: Path, target: Path) -> None:
    """Put a finished folder in the place of another, if there is one: in one step, where the system can.

    Raises:
        OSError: it cannot be moved, or what was there cannot be removed.
    """
    sync_tree(building)
    if not (target.exists() or target.is_symlink()):
        move(building, target)
    elif exchange(building, target):
        sync(target.parent)
        remove(building)
    else:
        remove(target)
        move(building, target)


def move(source: Path, target: Path) -> None:
    """Rename a file or a folder whose content is on the disk; a file takes the place of another.

    Raises:
        OSError: the paths are on different file systems, or ``target`` is a folder that is not empty.
    """
    with _naming(target):
        source.replace(target)
    sync(target.parent)
    if source.parent != target.parent:
        sync(source.parent)


def sync_tree(folder: Path) -> None:
    """Flush a folder and everything below it to the disk."""
    for path in folder.rglob("*"):
        if not path.is_symlink():
            sync(path)
    sync(folder)


def sync(path: Path) -> None:
    """Flush a file's bytes, or a folder's entries, to the disk.

    Raises:
        OSError: that failed. File systems that cannot sync folders are tolerated.
    """
    folder = path.is_dir()
    if folder and sys.platform == "win32":
        return  # folders cannot be opened there, and renames are journalled
    # Windows flushes only what is open for writing.
    descriptor = os.open(path, os.O_RDWR if sys.platform == "win32" else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if not folder or error.errno not in UNSUPPORTED:
            raise
    finally:
        os.close(descriptor)


def remove_tree(folder: Path) -> None:
    """Remove a folder with all that is in it, write-protected folders too.

    Raises:
        OSError: something in it cannot be removed.
    """
    try:
        shutil.rmtree(folder)
    except FileNotFoundError:
        return
    except PermissionError:
        for current, _, _ in os.walk(folder):
            Path(current).chmod(0o700)
        shutil.rmtree(folder)


def remove(path: Path) -> None:
    """Remove a file, a link, or a folder with all that is in it."""
    if path.is_dir() and not path.is_symlink():
        remove_tree(path)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def _naming(target: Path) -> Iterator[None]:
    """Errors name what was to be there, not what is unfinished beside it: that will be gone."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(target)) from error


def _begin(folder: Path, name: str) -> tuple[Path, int | None]:
    """A new unfinished file; the descriptor locks it as long as its writer lives."""
    while True:
        path = folder / f"{name}.{secrets.token_hex(4)}.partial"
        try:
            with _naming(folder / name):
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        except FileExistsError:
            continue
        if not LOCKS_UNFINISHED:
            return path, descriptor
        with suppress(OSError):  # a file system without locks: leftovers are kept
            if not try_lock(descriptor):  # another process took it for a leftover
                os.close(descriptor)
                continue
        return path, descriptor


def _remove_unfinished(folder: Path, name: str) -> None:
    if not LOCKS_UNFINISHED:
        return
    for path in folder.glob(f"{glob.escape(name)}.*.partial"):
        with suppress(OSError):
            descriptor = os.open(path, os.O_RDWR)
            try:
                if try_lock(descriptor):
                    path.unlink(missing_ok=True)
            finally:
                os.close(descriptor)
