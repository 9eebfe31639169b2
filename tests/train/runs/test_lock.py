from __future__ import annotations

import multiprocessing
import threading
import time
from pathlib import Path

import pytest

from clwm_data.errors import ConflictError
from clwm_train.runs.lock import run_lock


def hold(run: Path, seconds: float, held: object) -> None:
    with run_lock(run):
        held.set()  # type: ignore[attr-defined]
        time.sleep(seconds)


def test_another_process_is_refused_until_the_holder_dies(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    held = context.Event()
    run, link = tmp_path / "run", tmp_path / "link"
    run.mkdir()
    link.symlink_to(run)
    process = context.Process(target=hold, args=(run, 600, held))
    process.start()
    try:
        assert held.wait(60)
        for path in (run, link):
            message = f"{path.name}: another process is working on this run"
            with pytest.raises(ConflictError, match=message), run_lock(path):
                pytest.fail("two processes hold the lock")
    finally:
        process.kill()
        process.join()
    with run_lock(run, patience=10.0):
        pass


def test_a_thread_may_hold_it_twice_but_two_threads_may_not(tmp_path: Path) -> None:
    run = tmp_path / "runs" / "a"
    refused = []

    def other() -> None:
        try:
            with run_lock(run):
                refused.append(False)
        except ConflictError:
            refused.append(True)

    with run_lock(run):
        with run_lock(run):
            pass
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert refused == [True]
    assert not run.parent.exists(), "no file and no folder is left behind"


def test_many_who_wait_hold_it_one_at_a_time(tmp_path: Path) -> None:
    """The lock file is removed after each: who waits for a removed one must not be let in beside another."""
    inside, most = [], []

    def work() -> None:
        for _ in range(20):
            with run_lock(tmp_path / "run", patience=60.0):
                inside.append(1)
                most.append(len(inside))
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(most) == 1
    assert len(most) == 80
