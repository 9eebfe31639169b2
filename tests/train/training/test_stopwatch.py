from __future__ import annotations

import time

from clwm_train.training.stopwatch import Stopwatch


def work(seconds: float) -> None:
    began = time.process_time()
    while time.process_time() - began < seconds:
        pass


def test_it_counts_work_and_waiting_apart_and_not_what_is_paused() -> None:
    watch = Stopwatch()
    work(0.1)
    time.sleep(0.2)
    elapsed, processor = watch.read()
    assert elapsed >= 0.3
    assert 0.1 <= processor < 0.2
    with watch.paused():
        work(0.3)
    after = watch.read()
    assert after[0] - elapsed < 0.15
    assert after[1] - processor < 0.15
