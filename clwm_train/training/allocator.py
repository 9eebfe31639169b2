"""The C library's allocator, tuned for training on CPU."""

from __future__ import annotations

import ctypes
import platform

#: <malloc.h>
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
#: The largest value that glibc accepts.
LARGEST_MMAP_THRESHOLD = 32 << 20
#: Freed memory that the process keeps.
KEPT = (1 << 31) - 1


def keep_freed_memory() -> bool:
    """Let this process keep freed memory, rather than return it and request it again, page by page, in every
    update. Returns whether that is possible, which it is only with glibc.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(MMAP_THRESHOLD, LARGEST_MMAP_THRESHOLD) and mallopt(TRIM_THRESHOLD, KEPT))
