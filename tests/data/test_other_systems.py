"""What other systems lack: nothing here may need it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

#: Windows has none of these; other packages, imported before, look for them themselves.
WITHOUT = """
import os, sys
import filelock, multiprocessing.connection, numpy, platform, shutil
import sysconfig, tempfile, yaml, zarr, zoneinfo
from pydantic import BaseModel, Field
platform.uname(), sysconfig.get_config_vars()
sys.modules["resource"] = sys.modules["fcntl"] = None
for name in ("pread", "sysconf", "uname", "O_NONBLOCK", "getuid", "statvfs", "fork", "geteuid"):
    delattr(os, name)
from pathlib import Path
del Path.is_mount
platform, sys.platform = sys.platform, "win32"
import clwm_data.memory
sys.platform = platform  # other packages choose their modules by it
"""
USE = """
from clwm_data import open_store
from clwm_data.store.validate import validate
store = open_store(sys.argv[1])
print(sum(task.load().transitions for task in store), validate(sys.argv[1]))
"""


@pytest.mark.slow
def test_stores_are_read_without_what_windows_lacks() -> None:
    golden = ROOT / "tests/data/store/golden-1.zarr"
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT + USE, golden],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(" []\n")


def test_a_terminal_without_the_letters(collected: Path, tmp_path: Path) -> None:
    """Names of stores may have any letters; old terminals have few."""
    (tmp_path / "müll.zarr").symlink_to(collected)
    code = "from clwm_cli.entry import run; run()"
    done = subprocess.run(
        [sys.executable, "-c", code, "info", "nichts-\u4e2d.zarr"],
        cwd=tmp_path,
        env={"PYTHONIOENCODING": "latin-1", "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
        capture_output=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 1
    assert b"Traceback" not in done.stderr
    assert b"nichts-\\u4e2d.zarr" in done.stderr
