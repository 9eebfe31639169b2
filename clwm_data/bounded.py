"""Reading files that may be endless or huge, whatever size is stated: devices, pipes, foreign data.

Everything that the packages read from disk is opened here: a pipe or a device put in the place of a file of a
store, a run or a cache is refused, since reading it may never end.
"""

from __future__ import annotations

import csv
import errno
import os
import stat
from io import BufferedReader
from pathlib import Path

from clwm_data.errors import InvalidInputError, NotFoundError

#: Maximum size of a CSV table.
MAX_TABLE_BYTES = 2**24
#: Maximum size of any document of a store or a run, its root metadata included.
MAX_DOCUMENT_BYTES = 2**28
#: Bytes that are read at once from a file that is longer than it states.
BLOCK = 2**20


def open_file(path: Path) -> BufferedReader:
    """Open a regular file for reading, without waiting for a writer as a pipe does.

    Raises:
        OSError: it cannot be opened, or is not a regular file.
    """
    stream = open(path, "rb", opener=_opener)  # noqa: SIM115 (Path.open takes no opener)
    if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
        stream.close()
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return stream


def read_bounded(path: Path, limit: int = MAX_DOCUMENT_BYTES) -> bytes:
    """The content of a regular file.

    Raises:
        InvalidInputError: it has more than ``limit`` bytes.
        OSError: it cannot be read.
    """
    with open_file(path) as stream:
        stated = os.fstat(stream.fileno()).st_size
        # A read takes as much memory as it may return, so no more than is stated; files that grow, or state
        # nothing (/proc), are read on.
        content = stream.read(stated + 1) if stated <= limit else b""
        while stated < len(content) <= limit and (more := stream.read(BLOCK)):
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


def _opener(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
