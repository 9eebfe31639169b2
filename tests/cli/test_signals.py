"""Commands that are told to stop: one line, the exit code of shells, and nothing left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from clwm_cli.signals import StopOnSignal

REWARD = """
import pathlib, time

def reward(observation, action, next_observation, parameters):
    pathlib.Path("ready").touch()
    time.sleep(120)
"""
CODES = {"SIGINT": 130, "SIGTERM": 143, "SIGHUP": 129}


@pytest.mark.parametrize("name", CODES)
def test_a_command_that_is_stopped_cleans_up(store_path: Path, tmp_path: Path, name: str) -> None:
    """In the middle of building a store."""
    (tmp_path / "slow.py").write_text(REWARD)
    command = [sys.executable, "-c", "from clwm_cli.entry import run; run()"]
    process = subprocess.Popen(
        [*command, "relabel", store_path, "new/other.zarr", "--reward", "slow:reward"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 120
    while not (tmp_path / "ready").exists() and time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    assert list((tmp_path / "new").iterdir())  # it has begun
    os.kill(process.pid, signal.Signals[name])
    _, err = process.communicate(timeout=60)
    assert process.returncode == CODES[name]
    (line,) = err.strip().splitlines()
    assert line == ("clwm: interrupted" if name == "SIGINT" else f"clwm: stopped by {name}")
    assert not (tmp_path / "new").exists()


def test_the_first_interrupt_says_what_a_second_does(capfd: pytest.CaptureFixture[str]) -> None:
    with StopOnSignal() as stopped:
        signal.raise_signal(signal.SIGINT)
        assert stopped()
        assert "Ctrl-C again stops at once" in capfd.readouterr().err
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
