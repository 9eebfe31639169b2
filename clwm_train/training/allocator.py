"""The C library's allocator, tuned for training on CPU."""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Iterator
from contextlib import contextmanager

#: <malloc.h>
TRIM_THRESHOLD, MMAP_THRESHOLD, MMAP_MAX = -1, -3, -4
#: Freed memory that the process keeps.
KEPT = (1 << 31) - 1
#: What glibc settles on in a process that frees large arrays: they are mapped for themselves from this size
#: on, and twice as much is kept.
LARGE, MAPPED = 32 << 20, 65536


_kept = False


def keep_freed_memory() -> bool:
    """Let this process keep freed memory, rather than return it and request it again, page by page, in every
    update. Returns whether that is possible, which it is only with glibc.

    By default glibc maps large arrays for themselves and unmaps them when they are freed. The size from which
    it does so can be raised to 32 MiB only, less than arrays of several seeds of the published size take;
    hence nothing is mapped for itself.
    """
    global _kept
    _kept = _tune({MMAP_MAX: 0, TRIM_THRESHOLD: KEPT})
    return _kept


def return_freed_memory() -> bool:
    """Undo :func:`keep_freed_memory`, and return what is free. Returns whether that is possible."""
    global _kept
    _kept = False
    done = _tune({MMAP_MAX: MAPPED, MMAP_THRESHOLD: LARGE, TRIM_THRESHOLD: 2 * LARGE})
    if done:
        ctypes.CDLL(None).malloc_trim(0)
    return done


@contextmanager
def freed_memory(*, kept: bool) -> Iterator[None]:
    """A block in which freed memory is kept, or returned; after it is what was before.

    Keeping it is for updates, whose arrays have the same few sizes again and again. Where they have others,
    as in evaluations, a large array does not fit into the holes of those before it once something small
    lies in them, and the process grows without bound.
    """
    before = _kept
    if kept == before:
        yield
        return
    (keep_freed_memory if kept else return_freed_memory)()
    try:
        yield
    finally:
        (keep_freed_memory if before else return_freed_memory)()


def _tune(options: dict[int, int]) -> bool:
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return all(mallopt(option, value) for option, value in options.items())
