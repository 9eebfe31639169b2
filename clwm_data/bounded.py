"""Reading files that may be endless or huge, whatever size is stated: devices, pipes, foreign data.

Everything that the packages read from disk is opened here: a pipe or a device put in the place of a file of a
store, a run or a cache is refused, since reading it may never end.
"""

from __future__ import annotations

import csv
import errno
import os
import stat
from io import BufferedReader, FileIO
from pathlib import Path

from clwm_data.errors import InvalidInputError, NotFoundError

#: Maximum size of a CSV table.
MAX_TABLE_BYTES = 2**24
#: Maximum size of any document of a store or a run, its root metadata included.
MAX_DOCUMENT_BYTES = 2**28
#: Bytes that are read at once from a file that is longer than it states.
BLOCK = 2**20

#: Flags that Python's own ``open`` sets to read, where the system has them.
READING = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOINHERIT", 0)
NOT_WAITING = getattr(os, "O_NONBLOCK", 0)


def open_file(path: Path) -> BufferedReader:
    """Open a regular file for reading, without waiting for a writer as a pipe does.

    Raises:
        OSError: it cannot be opened, or is not a regular file.
    """
    stream = open(path, "rb", opener=_opener)  # noqa: SIM115 (Path.open takes no opener)
    try:
        _stated_size(stream.fileno(), path)
    except OSError:
        stream.close()
        raise
    return stream


def open_unbuffered(path: Path | str) -> tuple[FileIO, int]:
    """Open a regular file as :func:`open_file` does, in half the time, to read it whole.

    Returns:
        The file, and the size that it states.

    Raises:
        OSError: it cannot be opened, or is not a regular file.
    """
    descriptor = _opener(path, READING)
    try:
        size = _stated_size(descriptor, path)
        return FileIO(descriptor), size
    except OSError:
        os.close(descriptor)
        raise


def _stated_size(descriptor: int, path: Path | str) -> int:
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return status.st_size


def read_bounded(path: Path, limit: int = MAX_DOCUMENT_BYTES) -> bytes:
    """The content of a regular file.

    Raises:
        InvalidInputError: it has more than ``limit`` bytes.
        OSError: it cannot be read.
    """
    stream, stated = open_unbuffered(path)
    with stream:
        # A read takes as much memory as it may return, so no more than is stated; files that grow, or state
        # nothing (/proc), are read on.
        content = stream.read(stated + 1) if stated <= limit else b""
        while stated <= limit and stated != len(content) <= limit and (more := stream.read(BLOCK)):
            content += more
    if max(stated, len(content)) > limit:
        raise InvalidInputError(f"{path}: has more than {limit} bytes")
    return content


def read_at(descriptor: int, size: int, start: int) -> bytes:
    """Up to ``size`` bytes of an open file from a position; not for files that threads share."""
    if hasattr(os, "pread"):
        return os.pread(descriptor, size, start)
    os.lseek(descriptor, start, os.SEEK_SET)  # Windows
    return os.read(descriptor, size)


def read_csv(path: Path) -> list[list[str]]:
    """The rows of a CSV table.

    Raises:
        NotFoundError: it cannot be read.
        InvalidInputError: it is too large, or no CSV in UTF-8.
    """
    try:
        text = read_bounded(path, MAX_TABLE_BYTES).decode("utf-8-sig")
        return list(csv.reader(text.splitlines()))
    except InvalidInputError:
        raise
    except OSError as error:
        raise NotFoundError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, csv.Error) as error:
        raise InvalidInputError(f"{path}: is not a CSV file in UTF-8: {error}") from error


def _opener(path: Path | str, flags: int) -> int:
    return os.open(path, flags | NOT_WAITING)
