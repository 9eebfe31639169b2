from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from clwm_data.errors import ClwmError
from clwm_data.families.simulation.process_lanes import ProcessLanes, WorkerTraceback
from clwm_data.families.simulation.simulator import Simulator, StepResult


class Counter(Simulator):
    """Counts steps per lane, from the seed; task 9 breaks, task 8 presses Ctrl-C while it steps.

    ``privileged`` is the worker's process id.
    """

    def __init__(self, tasks: Sequence[int]) -> None:
        self.tasks = np.asarray(tasks, np.int64)
        self._count = np.zeros((len(tasks), 1))

    def reset(self, lanes: NDArray[np.int64], seeds: Sequence[int]) -> None:
        self._count = self._count.copy()
        self._count[lanes, 0] = seeds

    def step(self, action: NDArray[np.float64], active: NDArray[np.bool_]) -> StepResult:
        if np.any((self.tasks == 9) & (action[:, 0] > 0)):
            raise ZeroDivisionError("a joint\ncame off")
        if np.any((self.tasks == 8) & (action[:, 0] > 0)):
            os.kill(os.getppid(), signal.SIGINT)
            time.sleep(0.5)  # the reply comes when nobody waits for it
        self._count = self._count + active[:, None]
        return StepResult(self._count[:, 0] * 10.0, self._count[:, 0] > 5.0)

    def observe(self) -> NDArray[np.float64]:
        return self._count

    def privileged(self) -> NDArray[np.float64]:
        return np.full((len(self.tasks), 1), float(os.getpid()))

    def get_state(self, lane: int) -> NDArray[np.float64]:
        return np.array(self._count[lane])

    def set_state(self, lane: int, state: NDArray[np.float64]) -> None:
        self._count = self._count.copy()
        self._count[lane] = state

    def render(self, lane: int) -> NDArray[np.uint8]:
        return np.full((2, 2, 3), self._count[lane, 0], np.uint8)


def broken(tasks: Sequence[int]) -> Simulator:
    raise ClwmError(f"no model for tasks {list(tasks)}")


def dying(tasks: Sequence[int]) -> Simulator:
    os._exit(7)


def process_ids(lanes: ProcessLanes) -> list[int]:
    privileged = lanes.privileged()
    assert privileged is not None
    return sorted({int(p) for p in privileged[:, 0]})


def is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
        return "zombie" not in Path(f"/proc/{process}/status").read_text()
    except (ProcessLookupError, FileNotFoundError):
        return False


def wait_until_gone(processes: Sequence[int]) -> bool:
    deadline = time.monotonic() + 20.0
    while any(is_running(p) for p in processes) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not any(is_running(p) for p in processes)


def test_lanes_keep_their_order_and_only_named_ones_are_reset() -> None:
    lanes = ProcessLanes("counter", Counter, [0, 1, 2, 3, 4], workers=2)
    lanes.reset(np.array([1, 4]), [3, 5])
    np.testing.assert_array_equal(lanes.observe()[:, 0], [0, 3, 0, 0, 5])
    result = lanes.step(np.zeros((5, 1)), np.array([True, True, False, True, True]))
    np.testing.assert_array_equal(lanes.observe()[:, 0], [1, 4, 0, 1, 6])
    np.testing.assert_array_equal(result.reward, [10, 40, 0, 10, 60])
    np.testing.assert_array_equal(result.terminated, [False] * 4 + [True])
    assert result.success is None
    np.testing.assert_array_equal(lanes.get_state(4), [6])
    lanes.set_state(3, np.array([2.0]))
    np.testing.assert_array_equal(lanes.observe()[:, 0], [1, 4, 0, 2, 6])
    assert lanes.render(1).max() == 4
    assert len(process_ids(lanes)) == 2
    assert os.getpid() not in process_ids(lanes)
    lanes.close()


def test_there_are_no_more_workers_than_lanes() -> None:
    lanes = ProcessLanes("counter", Counter, [0, 1], workers=8)
    assert len(process_ids(lanes)) == 2
    lanes.close()


def test_an_error_is_one_line_and_the_lanes_live_on() -> None:
    lanes = ProcessLanes("counter", Counter, [0, 9], workers=2)
    everywhere = np.ones(2, np.bool_)
    with pytest.raises(ClwmError, match=r"^counter: ZeroDivisionError: a joint came off$") as caught:
        lanes.step(np.ones((2, 1)), everywhere)
    assert isinstance(caught.value.__cause__, WorkerTraceback)
    assert "raise ZeroDivisionError" in str(caught.value.__cause__)
    lanes.step(np.zeros((2, 1)), everywhere)
    np.testing.assert_array_equal(lanes.observe()[:, 0], [2, 1])
    lanes.close()


def test_what_cannot_be_built_is_said_by_the_constructor() -> None:
    with pytest.raises(ClwmError, match=r"^counter: no model for tasks \[0\]$"):
        ProcessLanes("counter", broken, [0, 1], workers=2)
    with pytest.raises(ClwmError, match=r"a worker process ended \(exit code 7\)"):
        ProcessLanes("counter", dying, [0], workers=1)


def test_a_killed_worker_is_named_and_the_others_end() -> None:
    lanes = ProcessLanes("counter", Counter, [0, 1], workers=2)
    processes = process_ids(lanes)
    os.kill(processes[0], signal.SIGKILL)
    assert wait_until_gone(processes[:1])
    with pytest.raises(ClwmError, match=r"a worker process ended \(exit code -9\)"):
        lanes.step(np.zeros((2, 1)), np.ones(2, np.bool_))
    assert wait_until_gone(processes)


def test_close_ends_the_workers_and_may_be_repeated() -> None:
    lanes = ProcessLanes("counter", Counter, [0, 1], workers=2)
    processes = process_ids(lanes)
    lanes.close()
    lanes.close()
    assert wait_until_gone(processes)
    with pytest.raises(ClwmError, match="were closed"):
        lanes.step(np.zeros((2, 1)), np.ones(2, np.bool_))


def test_an_interrupted_call_leaves_no_reply_for_the_next_one() -> None:
    lanes = ProcessLanes("counter", Counter, [0, 8], workers=2)
    processes = process_ids(lanes)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # under nohup it would be ignored
    try:
        with pytest.raises(KeyboardInterrupt):
            lanes.step(np.ones((2, 1)), np.ones(2, np.bool_))
    finally:
        signal.signal(signal.SIGINT, before)
    with pytest.raises(
        ClwmError, match=r"^counter: its worker processes were .*interrupted.*: make it anew$"
    ):
        lanes.reset(np.arange(2), [3, 4])
    assert wait_until_gone(processes)


def test_forgotten_lanes_end_with_their_object() -> None:
    lanes = ProcessLanes("counter", Counter, [0, 1], workers=2)
    processes = process_ids(lanes)
    del lanes
    assert wait_until_gone(processes)


def hold(report: Path) -> None:
    lanes = ProcessLanes("counter", Counter, [0, 1], workers=2)
    report.with_suffix(".new").write_text(" ".join(map(str, process_ids(lanes))))
    report.with_suffix(".new").rename(report)
    time.sleep(600)


def test_no_worker_outlives_a_parent_that_was_killed(tmp_path: Path) -> None:
    report = tmp_path / "processes"
    code = f"""
from pathlib import Path
from tests.data.families.test_process_lanes import hold
if __name__ == "__main__":
    hold(Path({str(report)!r}))
"""
    parent = subprocess.Popen([sys.executable, "-c", code])
    try:
        deadline = time.monotonic() + 60.0
        while not report.exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        processes = [int(p) for p in report.read_text().split()]
        assert all(is_running(p) for p in processes)
    finally:
        parent.kill()
        parent.wait()
    assert wait_until_gone(processes)


def test_a_factory_with_arguments_pickles() -> None:
    lanes = ProcessLanes("counter", partial(Counter), [0], workers=1)
    assert lanes.observe().shape == (1, 1)
    lanes.close()
