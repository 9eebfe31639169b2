"""The folder where clwm keeps what it has downloaded or prepared, shared by all processes of a user."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from clwm_data.disk import describe
from clwm_data.errors import ClwmError, UnavailableError
from clwm_data.locks import exclusive
from clwm_data.paths import real_path

logger = logging.getLogger(__name__)

#: Longest wait for another process.
WAIT_SECONDS = 3600.0


def cache_root() -> Path:
    """``CLWM_CACHE``, or the folder ``clwm`` in the user's cache folder (``XDG_CACHE_HOME``, ``~/.cache``).

    Raises:
        UnavailableError: neither is set, and the user has no home folder.
    """
    if chosen := os.environ.get("CLWM_CACHE"):
        return real_path(chosen)
    if base := os.environ.get("XDG_CACHE_HOME"):
        return real_path(base) / "clwm"
    try:
        return Path.home() / ".cache" / "clwm"
    except RuntimeError as error:
        raise UnavailableError("there is no home folder to keep a cache in: set CLWM_CACHE") from error


def cache_folder(part: Literal["hub", "web", "mapped", "pushed"]) -> Path:
    """A part of the cache, whose folder may not exist yet.

    Args:
        part: ``hub``: stores and agents of the Hub; ``web``: stores at other addresses; ``mapped``: task data
            decoded for memory mapping; ``pushed``: records of what was published from here.
    """
    return cache_root() / part


@contextmanager
def waiting_lock(file: Path, purpose: str, *, seconds: float = WAIT_SECONDS) -> Iterator[None]:
    """Let one process or thread at a time into a block; a warning tells those that wait what they wait for.

    Args:
        file: the lock file, which is kept.
        purpose: what the block does, for messages, such as ``downloading user/repo``.
        seconds: longest wait for another process.

    Raises:
        ConflictError: the other process does not end.
        UnavailableError: the cache cannot be written.
    """
    minutes = f"{seconds / 60:.0f} min"
    holder = exclusive(
        file,
        f"{purpose}: another process has been doing that for {minutes} ({file} is its lock): end it first",
        seconds=seconds,
        on_wait=lambda: logger.warning("%s: another process does that already: waiting for it", purpose),
    )
    try:
        holder.__enter__()
    except ClwmError:
        raise
    except OSError as error:
        raise UnavailableError(
            f"{purpose}: {describe(error, file)}, or set CLWM_CACHE to another folder"
        ) from error
    try:
        yield
    finally:
        holder.__exit__(None, None, None)
