"""Errors of the file system as one line that says what to do."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from clwm_data.errors import ClwmError, UnavailableError

FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
FORBIDDEN = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})


@contextmanager
def disk_errors(where: Path, afterwards: str) -> Iterator[None]:
    """A block whose ``OSError`` becomes one line.

    Args:
        where: path to name if the error names no file.
        afterwards: the state of the data, or what the same command does when it is run again.

    Raises:
        UnavailableError: the disk is full, write-protected, or failed.
    """
    try:
        yield
    except ClwmError:
        raise
    except OSError as error:
        raise UnavailableError(f"{describe(error, where)}; {afterwards}") from error


def describe(error: OSError, where: Path | None = None) -> str:
    """The file, the system's message, and what to do about it; at most a few hundred characters."""
    if error.errno in FULL:
        advice = "free space"
    elif error.errno in FORBIDDEN:
        advice = "choose another place, or change the permissions,"
    else:
        advice = "solve this"
    place = error.filename if isinstance(error.filename, str) else where
    reason = " ".join((error.strerror or str(error) or type(error).__name__).split())[:200]
    return f"{f'{place}: ' if place else ''}{reason}: {advice} and run the same command again"
