"""How much memory a training may take on this machine."""

from __future__ import annotations

import os
import resource
from pathlib import Path

MEMINFO = Path("/proc/meminfo")
STATUS = Path("/proc/self/status")
#: Memory that a container may use, what it does use, and the details of it: control groups version 2 and 1.
CONTAINERS = (
    (
        Path("/sys/fs/cgroup/memory.max"),
        Path("/sys/fs/cgroup/memory.current"),
        Path("/sys/fs/cgroup/memory.stat"),
    ),
    (
        Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
        Path("/sys/fs/cgroup/memory/memory.usage_in_bytes"),
        Path("/sys/fs/cgroup/memory/memory.stat"),
    ),
)


def available_memory() -> int:
    """Bytes that this process can still take before it swaps or is killed, as far as the system tells.

    The least of: what the machine has left, what the container has left, and what ``ulimit -d`` leaves.
    """
    candidates = [_kibibytes(MEMINFO, "MemAvailable")]
    for limit, usage, details in CONTAINERS:
        most = _number(limit)
        if most is not None:
            # Cached files count as used, and give way.
            used = (_number(usage) or 0) - (_entry(details, "inactive_file") or 0)
            candidates.append(max(0, most - max(0, used)))
    most_data = resource.getrlimit(resource.RLIMIT_DATA)[0]
    if most_data != resource.RLIM_INFINITY:
        candidates.append(max(0, most_data - (_kibibytes(STATUS, "VmData") or 0)))
    known = [candidate for candidate in candidates if candidate is not None]
    return min(known, default=os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))


def _number(path: Path) -> int | None:
    text = path.read_text().strip() if path.is_file() else ""
    return int(text) if text.isdigit() else None


def _entry(path: Path, key: str) -> int | None:
    if path.is_file():
        for line in path.read_text().splitlines():
            words = line.split()
            if words[:1] == [key]:
                return int(words[1])
    return None


def _kibibytes(path: Path, key: str) -> int | None:
    value = _entry(path, f"{key}:")
    return None if value is None else value * 1024
