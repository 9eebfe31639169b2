from __future__ import annotations

import threading
from collections.abc import Callable
from time import sleep

import pytest

from clwm_data.store.threads import shared, usable_cores


def square() -> Callable[[int], int]:
    return lambda number: number**2


@pytest.mark.parametrize("threads", [1, 2, 3, 20])
def test_results_and_reports_are_in_the_order_of_the_jobs(threads: int) -> None:
    reported: list[int] = []
    assert shared(range(9), square, threads, reported.append) == [number**2 for number in range(9)]
    assert reported == list(range(9))
    assert shared([], square, threads) == []


def test_every_thread_has_a_worker_of_its_own() -> None:
    together = threading.Barrier(3, timeout=60)  # passes only if three threads do a job at the same time
    made: list[threading.Thread] = []

    def worker() -> Callable[[int], threading.Thread]:
        made.append(threading.current_thread())

        def do(_: int) -> threading.Thread:
            together.wait()
            return threading.current_thread()

        return do

    did = shared(range(3), worker, 3)
    assert len(set(made)) == 3
    assert set(did) == set(made)
    assert threading.current_thread() in did


@pytest.mark.parametrize("here", [True, False])
def test_an_error_in_any_thread_is_raised_here_and_ends_the_rest(here: bool) -> None:
    before, begun, both = threading.active_count(), [], threading.Barrier(2, timeout=60)

    def worker() -> Callable[[int], None]:
        fails = (threading.current_thread() is threading.main_thread()) is here

        def do(number: int) -> None:
            begun.append(number)
            if number < 2:  # each thread has one
                both.wait()
            if fails:
                raise LookupError("wrong")
            sleep(0.001)

        return do

    with pytest.raises(LookupError, match="wrong"):
        shared(range(10_000), worker, 2)
    assert threading.active_count() == before
    assert len(begun) < 10_000


def test_an_error_of_a_report_ends_the_rest() -> None:
    def report(_: int) -> None:
        raise KeyboardInterrupt

    before = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        shared(range(100), square, 2, report)
    assert threading.active_count() == before


def test_there_is_a_core() -> None:
    assert usable_cores() >= 1
