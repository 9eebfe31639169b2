"""How much memory a training may take on this machine."""

from __future__ import annotations

import os
import resource
from pathlib import Path

MEMINFO = Path("/proc/meminfo")
STATUS = Path("/proc/self/status")
#: Memory that a container may use: control groups version 2 and 1.
CONTAINER_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)


def available_memory() -> int:
    """Bytes that this process can still take before it swaps or is killed, as far as the system tells.

    The least of: what the machine has left, the container's limit, and the limit of ``ulimit -d``.
    """
    candidates = [_kibibytes(MEMINFO, "MemAvailable")]
    for path in CONTAINER_LIMITS:
        if path.is_file() and (text := path.read_text().strip()).isdigit():
            candidates.append(int(text))
    limit = resource.getrlimit(resource.RLIMIT_DATA)[0]
    if limit != resource.RLIM_INFINITY:
        candidates.append(max(0, limit - (_kibibytes(STATUS, "VmData") or 0)))
    known = [candidate for candidate in candidates if candidate is not None]
    return min(known, default=os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))


def _kibibytes(path: Path, key: str) -> int | None:
    if path.is_file():
        for line in path.read_text().splitlines():
            if line.startswith(f"{key}:"):
                return int(line.split()[1]) * 1024
    return None
