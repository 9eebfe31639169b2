"""What memory is left, read from files as a container has them."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from clwm_data.memory import available_memory

MACHINE = 50_000 * 1024


def unlimited(_: int) -> tuple[int, int]:
    return resource.RLIM_INFINITY, resource.RLIM_INFINITY


@pytest.fixture
def system(tmp_path: Path) -> Path:
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "sys/fs/cgroup").mkdir(parents=True)
    (tmp_path / "proc/meminfo").write_text("MemTotal: 90000 kB\n\nMemAvailable:\t 50000 kB\n")
    (tmp_path / "proc/self/status").write_text("VmSize:\t 3000 kB\nVmData:\t 1000 kB\n")
    return tmp_path


def limit_group(folder: Path, limit: str, used: str, cached: int = 0) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "memory.max").write_text(limit + "\n")
    (folder / "memory.current").write_text(used + "\n")
    (folder / "memory.stat").write_text(f"active_file 77\ninactive_file {cached}\n")


@pytest.mark.parametrize(
    ("limit", "used", "cached", "expected"),
    [("8000", "6000", 500, 2500), ("8000", "9000", 0, 0), ("max", "6000", 0, MACHINE)],
)
def test_a_container_has_left_what_it_does_not_use_but_for_cached_files(
    system: Path, limit: str, used: str, cached: int, expected: int
) -> None:
    limit_group(system / "sys/fs/cgroup", limit, used, cached)
    assert available_memory(system, unlimited) == expected


def test_the_groups_around_the_own_one_count_too(system: Path) -> None:
    """As systemd and Slurm nest them."""
    (system / "proc/self/cgroup").write_text("0::/slurm/job_7/step_0\n")
    groups = system / "sys/fs/cgroup"
    limit_group(groups / "slurm/job_7/step_0", "max", "10")
    limit_group(groups / "slurm/job_7", "9000", "1000")
    limit_group(groups / "slurm/job_8", "1", "1")
    assert available_memory(system, unlimited) == 8000


def test_a_group_of_version_1(system: Path) -> None:
    folder = system / "sys/fs/cgroup/memory/docker"
    folder.mkdir(parents=True)
    (folder / "memory.limit_in_bytes").write_text("5000\n")
    (folder / "memory.usage_in_bytes").write_text("4000\n")
    (system / "proc/self/cgroup").write_text("4:cpu:/docker\n3:memory:/docker\n")
    assert available_memory(system, unlimited) == 1000


@pytest.mark.parametrize(
    ("limited", "expected"), [(resource.RLIMIT_DATA, 2_000 * 1024), (resource.RLIMIT_AS, 0)]
)
def test_limits_of_the_process_count(system: Path, limited: int, expected: int) -> None:
    def limits(which: int) -> tuple[int, int]:
        return (3_000 * 1024, 3_000 * 1024) if which == limited else unlimited(which)

    assert available_memory(system, limits) == expected
