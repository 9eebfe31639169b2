"""The C library's allocator, tuned for training on CPU."""

from __future__ import annotations

import ctypes
import platform

#: <malloc.h>
TRIM_THRESHOLD, MMAP_MAX = -1, -4
#: Freed memory that the process keeps.
KEPT = (1 << 31) - 1


def keep_freed_memory() -> bool:
    """Let this process keep freed memory, rather than return it and request it again, page by page, in every
    update. Returns whether that is possible, which it is only with glibc.

    By default glibc maps large arrays for themselves and unmaps them when they are freed. The size from which
    it does so can be raised to 32 MiB only, less than arrays of several seeds of the published size take;
    hence nothing is mapped for itself.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(MMAP_MAX, 0) and mallopt(TRIM_THRESHOLD, KEPT))
