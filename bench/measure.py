"""Timing for the benchmarks: contestants take turns, medians are compared."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence


def timed(action: Callable[[], object]) -> tuple[float, float]:
    """Wall and processor seconds."""
    wall, processor = time.perf_counter(), time.process_time()
    action()
    return time.perf_counter() - wall, time.process_time() - processor


def interleaved(actions: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, tuple[float, float]]:
    """Medians of wall and processor seconds; each round runs each action once; the first does not count."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in actions}
    for number in range(rounds + 1):
        for name, action in actions.items():
            measured = timed(action)
            if number > 0:
                times[name].append(measured)
    return {name: tuple(map(statistics.median, zip(*values, strict=True))) for name, values in times.items()}


def table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A Markdown table on stdout; numbers, all but the first column, to the right."""
    print(f"\n### {title}\n\n| {' | '.join(header)} |\n|---|{'---:|' * (len(header) - 1)}")
    for row in rows:
        print(f"| {' | '.join(row)} |", flush=True)
