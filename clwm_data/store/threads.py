"""Jobs shared by a few threads, this one among them: a pool would wake it for every job."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

Job = TypeVar("Job")
Result = TypeVar("Result")


def usable_cores() -> int:
    """Number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def shared(
    jobs: Sequence[Job],
    worker: Callable[[], Callable[[Job], Result]],
    threads: int,
    on_done: Callable[[Job], object] | None = None,
) -> list[Result]:
    """Do jobs in this thread and in others; each takes the next job as soon as it has finished one.

    Args:
        jobs: what to do.
        worker: makes the function that does a job; called once in each thread.
        threads: largest number of threads, this one included.
        on_done: called in this thread with each job that is done, in the order of the jobs.

    Returns:
        The result of each job, in the order of the jobs.

    Raises:
        BaseException: the first error of a job or of ``on_done``; jobs that were not begun are left.
    """
    waiting = iter(range(len(jobs)))  # taking the next number is atomic
    results: dict[int, Result] = {}
    errors: list[BaseException] = []
    reported = 0

    def report() -> None:
        nonlocal reported
        while reported in results:
            reported += 1
            if on_done is not None:
                on_done(jobs[reported - 1])

    def work(after: Callable[[], object] = lambda: None) -> None:
        do = worker()
        for number in waiting:
            results[number] = do(jobs[number])
            after()

    def help_out() -> None:
        try:
            work()
        except BaseException as error:
            errors.append(error)
            _drain(waiting)

    helpers = [threading.Thread(target=help_out) for _ in range(min(threads, len(jobs)) - 1)]
    for helper in helpers:
        helper.start()
    try:
        work(report)
    finally:
        _drain(waiting)  # after an error, nobody begins another job
        for helper in helpers:
            helper.join()
    if errors:
        raise errors[0]
    report()
    return [results[number] for number in range(len(jobs))]


def _drain(numbers: Iterator[int]) -> None:
    for _ in numbers:
        pass
