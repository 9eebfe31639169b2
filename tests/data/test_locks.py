"""Locks and atomic files on systems that lack something."""

from __future__ import annotations

import ast
import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import filelock
import pytest

from clwm_data.errors import ConflictError
from clwm_data.locks import Lock, exclusive
from clwm_data.store.atomic import replacing, sync
from clwm_data.store.lock import locked
from tests.conftest import ROOT, Clwm


def test_nothing_imports_fcntl() -> None:
    """Which Windows does not have."""
    for package in ("clwm_data", "clwm_train", "cli"):
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Import):
                    assert "fcntl" not in [alias.name for alias in node.names], path


def test_stores_are_collected_where_there_is_no_fcntl(tmp_path: Path) -> None:
    code = """
import sys
sys.modules["fcntl"] = None
from pathlib import Path
from clwm_data.collection.collector import collect
from clwm_data.errors import ConflictError
from clwm_data.store.lock import locked
from clwm_data.store.validate import validate
from tests.conftest import tiny_manifest
path = Path(sys.argv[1])
collect(tiny_manifest(tasks=[6]), path)
assert validate(path) == []
with locked(path):
    try:
        collect(tiny_manifest(tasks=[6]), path)
    except ConflictError as error:
        print(error)
assert sorted(entry.name for entry in path.iterdir()) == ["tasks", "zarr.json"]
"""
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "s.zarr"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    assert "another process is writing to it" in done.stdout


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_file_systems_without_locks(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(descriptor: int, *, blocking: bool = True) -> bool:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(filelock, "lock_descriptor", refused)
    store = tmp_path / "s.zarr"
    with locked(store):
        with pytest.raises(ConflictError, match="another process is writing to it"), locked(store):
            pass
        with replacing(store / "file") as temporary:
            temporary.write_text("whole")
    assert [path.name for path in store.iterdir()] == ["file"]
    # A holder that was killed on this machine keeps nobody out.
    code = f"""
import os, sys
from pathlib import Path
import filelock
from clwm_data import locks
def refused(descriptor, *, blocking=True):
    raise OSError({number}, "no locks")
filelock.lock_descriptor = refused
lock = locks.Lock(Path(sys.argv[1]))
assert lock.acquire()
os._exit(1)
"""
    subprocess.run([sys.executable, "-c", code, tmp_path / "lock"], check=False)
    assert (tmp_path / "lock.held").exists()
    lock = Lock(tmp_path / "lock")
    assert lock.acquire() or lock.acquire()
    lock.release(remove=True)
    assert not list(tmp_path.glob("lock*"))


def test_waiting_is_told_once_and_bounded(tmp_path: Path) -> None:
    told: list[int] = []
    with exclusive(tmp_path / "lock", "busy"), pytest.raises(ConflictError, match="busy"):  # noqa: SIM117
        with exclusive(tmp_path / "lock", "busy", seconds=0.2, on_wait=lambda: told.append(1)):
            pass
    assert told == [1]


def test_a_lock_in_a_folder_that_was_moved_locks_nothing_new(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    first = Lock(tmp_path / "a/lock")
    assert first.acquire()
    (tmp_path / "a").rename(tmp_path / "b")
    (tmp_path / "a").mkdir()
    second = Lock(tmp_path / "a/lock")
    assert second.acquire()
    first.release(remove=True)
    assert (tmp_path / "a/lock").exists()
    second.release(remove=True)


def test_folders_that_cannot_be_synced_are_forgiven_and_files_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(descriptor: int) -> None:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "fsync", refused)
    sync(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="Invalid argument"):
        sync(tmp_path / "file")


def test_unfinished_files_of_killed_processes_are_removed_and_those_of_others_are_not(tmp_path: Path) -> None:
    code = """
import os, signal, sys
from pathlib import Path
from clwm_data.store.atomic import replacing
with replacing(Path(sys.argv[1])) as temporary:
    temporary.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    target = tmp_path / "out.npz"
    done = subprocess.run([sys.executable, "-c", code, target], check=False)
    assert done.returncode == -signal.SIGKILL
    (left,) = tmp_path.iterdir()
    assert left.name.startswith("out.npz.")
    with replacing(target) as mine:
        assert not left.exists()
        mine.write_text("mine")
        with replacing(target) as other:
            other.write_text("other")
        assert target.read_text() == "other"
    assert target.read_text() == "mine"
    assert list(tmp_path.iterdir()) == [target]


def test_a_killed_conversion_leaves_nothing_after_the_next(
    collected: Path, tmp_path: Path, clwm: Clwm
) -> None:
    (tmp_path / "x.npz.0badcafe.partial").write_text("of a killed process")
    assert clwm("convert", collected, "x.npz", "--to", "npz").returncode == 0
    assert [path.name for path in tmp_path.iterdir()] == ["x.npz"]
