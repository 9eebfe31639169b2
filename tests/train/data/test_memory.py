"""What memory is left, read from files as a container has them."""

from __future__ import annotations

from pathlib import Path

import pytest

from clwm_train.data import memory


@pytest.mark.parametrize(
    ("limit", "used", "cached", "expected"),
    [("8000", "6000", 500, 2500), ("8000", "9000", 0, 0), ("max", "6000", 0, 50_000 * 1024)],
)
def test_a_container_has_left_what_it_does_not_use_but_for_cached_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, used: str, cached: int, expected: int
) -> None:
    (tmp_path / "meminfo").write_text("MemTotal: 90000 kB\n\nMemAvailable:\t 50000 kB\n")
    (tmp_path / "max").write_text(limit + "\n")
    (tmp_path / "current").write_text(used + "\n")
    (tmp_path / "stat").write_text(f"active_file 77\ninactive_file {cached}\n")
    monkeypatch.setattr(memory, "MEMINFO", tmp_path / "meminfo")
    container = tuple(tmp_path / name for name in ("max", "current", "stat"))
    monkeypatch.setattr(memory, "CONTAINERS", (container, (tmp_path / "none",) * 3))
    monkeypatch.setattr(memory.resource, "getrlimit", lambda _: (memory.resource.RLIM_INFINITY,) * 2)
    assert memory.available_memory() == expected
