"""How much memory this process can still use."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from clwm_data.errors import UnavailableError

#: Where control groups of version 2 and of version 1 are mounted, and the files with the memory that a group
#: may use, and that it does use.
CONTROL_GROUPS = (
    ("sys/fs/cgroup", "memory.max", "memory.current"),
    ("sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes"),
)
#: Control groups of version 1 without a limit state the largest number of pages.
UNLIMITED = 2**62
#: Limits of ``ulimit -d`` and ``ulimit -v``, and what counts towards them; none on Windows.
PROCESS_LIMITS: tuple[tuple[int, str], ...] = ()
if sys.platform != "win32":
    import resource

    PROCESS_LIMITS = ((resource.RLIMIT_DATA, "VmData"), (resource.RLIMIT_AS, "VmSize"))


class TooLargeError(UnavailableError, MemoryError):
    """Data does not fit into the memory that this process may use."""


def available_memory(system: Path = Path("/"), limits: Callable[[int], tuple[int, int]] | None = None) -> int:
    """Bytes that this process can still use before it swaps or is killed, as far as the system tells.

    The least of: what the machine has left, what the container (each control group of the process, and those
    around it) has left, and what ``ulimit -d`` and ``ulimit -v`` leave.

    Args:
        system: root of the file system that the numbers are read from.
        limits: gives the process's limits, soft and hard; by default :func:`resource.getrlimit`.
    """
    candidates = [
        _kibibytes(f"{_start(system)}/proc/meminfo", "MemAvailable"),
        *_left_by_control_groups(system),
    ]
    for limit, counted in PROCESS_LIMITS:
        most = (limits or resource.getrlimit)(limit)[0]
        if most != resource.RLIM_INFINITY:
            candidates.append(max(0, most - (_kibibytes(f"{_start(system)}/proc/self/status", counted) or 0)))
    known = [candidate for candidate in candidates if candidate is not None]
    return min(known) if known else _machine_memory()


def return_freed_memory() -> None:
    """Give freed memory back to the system now; does nothing where the C library is not glibc.

    The allocator keeps large blocks that were freed, and may not reuse them for others of another size.
    """
    if sys.platform != "win32":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


def _machine_memory() -> int:
    """Bytes of memory of a machine without ``/proc``; on Windows, those that are available."""
    if sys.platform == "win32":
        status = _MemoryStatus(length=ctypes.sizeof(_MemoryStatus))
        ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status))
        return int(status.available)
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


class _MemoryStatus(ctypes.Structure):
    """MEMORYSTATUSEX of the Windows API."""

    _fields_ = (
        ("length", ctypes.c_uint32),
        ("load", ctypes.c_uint32),
        ("total", ctypes.c_uint64),
        ("available", ctypes.c_uint64),
        ("others", ctypes.c_uint64 * 5),
    )


def _left_by_control_groups(system: Path) -> Iterator[int]:
    # Text rather than paths, and as few files as possible: this is asked before every task that is read.
    own = _own_groups(system)
    for mount, limit, usage in CONTROL_GROUPS:
        top = f"{_start(system)}/{mount}"
        groups = {""}
        for group in own:
            parts = [part for part in group.split("/") if part]
            if parts and Path("/".join([top, *parts])).is_dir():
                groups.update("/".join(parts[: count + 1]) for count in range(len(parts)))
        for group in groups:
            folder = f"{top}/{group}"
            most = _number(f"{folder}/{limit}")
            if most is not None and most < UNLIMITED:
                # Cached files count as used, but are dropped when memory is needed.
                used = (_number(f"{folder}/{usage}") or 0) - (
                    _entry(f"{folder}/memory.stat", "inactive_file") or 0
                )
                yield max(0, most - max(0, used))


def _own_groups(system: Path) -> list[str]:
    """Paths of the control groups of this process below their mounts; empty if unknown."""
    # One line per hierarchy: number:controllers:path.
    lines = _text(f"{_start(system)}/proc/self/cgroup").splitlines()
    paths = dict.fromkeys(line.split(":", 2)[2] for line in lines if line.count(":") >= 2)
    return [path.lstrip("/") for path in paths if ".." not in path.split("/")]


def _number(path: str) -> int | None:
    text = _text(path).strip()
    return int(text) if text.isdigit() else None


def _entry(path: str, key: str) -> int | None:
    for line in _text(path).splitlines():
        if line.startswith(key):
            words = line.split()
            if words[0] == key:
                return int(words[1])
    return None


def _text(path: str) -> str:
    """The content of a file; empty if there is none."""
    try:
        with open(path) as stream:  # noqa: PTH123 (a Path takes as long to make as the file to read)
            return stream.read()
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        return ""


def _start(system: Path) -> str:
    """What paths below the root of a file system begin with."""
    return system.as_posix().rstrip("/")


def _kibibytes(path: str, key: str) -> int | None:
    value = _entry(path, f"{key}:")
    return None if value is None else value * 1024
