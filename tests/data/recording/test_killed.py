"""Recorders that are killed lose the episode under way, and no other."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from clwm_data import Recorder, open_store, recover_recording
from clwm_data.errors import NotFoundError
from clwm_data.recording.session import sessions_folder
from clwm_data.store.validate import validate
from tests.conftest import ROOT
from tests.data.recording.test_recorder import Counter, check_counter_episodes, run_counter

LOOP = """
import sys
import numpy as np
from clwm_data import Recorder
from tests.data.recording.test_recorder import Counter

with Recorder(sys.argv[1], task=0) as r:
    env = r.wrap(Counter())
    while True:
        env.reset()
        ended = False
        while not ended:
            _, _, terminated, truncated, _ = env.step(np.zeros(1))
            ended = terminated or truncated
            print(env.unwrapped.episode, int(ended), flush=True)
"""


def record_until_killed(path: Path, steps: int) -> int:
    """Kill a recorder in the middle of a step; how many episodes it had told to be whole."""
    with subprocess.Popen(
        [sys.executable, "-c", LOOP, str(path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline().split() for _ in range(steps)]
        process.send_signal(signal.SIGKILL)
        lines += [line.split() for line in process.stdout.read().splitlines()]
        process.wait()
    assert process.returncode == -signal.SIGKILL
    return sum(int(line[1]) for line in lines if len(line) == 2)


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
@pytest.mark.parametrize("steps", [2, 5, 30])
def test_what_was_whole_is_recovered(steps: int, tmp_path: Path) -> None:
    path = tmp_path / "mine.zarr"
    whole = record_until_killed(path, steps)
    with pytest.raises(NotFoundError):  # nothing half-done is visible
        open_store(path)
    if whole == 0 and not any(sessions_folder(path).glob("*/*.episode")):
        return
    recover_recording(path)
    numbers = check_counter_episodes(path)
    assert numbers == list(range(len(numbers)))
    assert len(numbers) in (whole, whole + 1)  # one may have become whole before it was told
    assert not sessions_folder(path).exists()


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_the_next_recorder_takes_in_what_was_left(tmp_path: Path) -> None:
    path = tmp_path / "mine.zarr"
    with Recorder(path, task=1) as r:
        run_counter(r.wrap(Counter()), 1)
    whole = record_until_killed(path, 20)
    assert list(open_store(path).tasks) == [1]  # as it was
    assert validate(path) == []
    begun = time.monotonic()
    with Recorder(path, task=1) as r:
        assert list(open_store(path).tasks) == [0, 1]
        run_counter(r.wrap(Counter()), 1)
    assert time.monotonic() - begun < 60
    assert len(check_counter_episodes(path, 0)) in (whole, whole + 1)
    assert check_counter_episodes(path, 1) == [0, 0]
