"""Profiling: a trace of some updates, and each part's share of the time."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile, record_function, schedule

#: Number of updates before the trace begins, and in it.
WARM_UP, TRACED = 4, 20
#: Prefix of the parts' names in a trace.
PREFIX = "clwm: "

#: Part -> share of the traced time; they add up to 1.
Shares = dict[str, float]


def part(name: str) -> AbstractContextManager[object]:
    """Name the operations of a ``with`` block in the trace; parts must not be nested. Has no effect within a
    compiled graph.
    """
    return nullcontext() if torch.compiler.is_compiling() else record_function(PREFIX + name)


class Profiler:
    """Traces updates ``WARM_UP`` to ``WARM_UP + TRACED`` of a training and writes a Chrome trace.

    On a GPU the shares are of its time, on CPU of the training thread's.

    Args:
        path: file of the trace (JSON; for chrome://tracing or ui.perfetto.dev).
        done: called with the shares when the trace has been written.
    """

    def __init__(self, path: Path, done: Callable[[Shares], None]) -> None:
        self._path = path
        self._done = done
        activities = [ProfilerActivity.CPU]
        if torch.cuda.is_available():
            activities.append(ProfilerActivity.CUDA)
        self._profile = profile(
            activities=activities,
            schedule=schedule(wait=0, warmup=WARM_UP, active=TRACED, repeat=1),
            on_trace_ready=self._finish,
        )

    def __enter__(self) -> Profiler:
        self._profile.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._profile.stop()

    def step(self) -> None:
        """Count a finished update."""
        self._profile.step()

    def _finish(self, trace: profile) -> None:
        trace.export_chrome_trace(str(self._path))
        events = trace.key_averages()
        parts = {event.key.removeprefix(PREFIX): event for event in events if event.key.startswith(PREFIX)}
        on_gpu = any(event.device_time_total > 0 for event in parts.values())
        times = {
            name: event.device_time_total if on_gpu else event.cpu_time_total for name, event in parts.items()
        }
        whole = sum(
            event.device_time_total if on_gpu else event.cpu_time_total
            for event in events
            if event.key.startswith("ProfilerStep")
        )
        times["rest"] = max(0.0, whole - sum(times.values()))
        total = sum(times.values()) or 1.0
        ordered = sorted(times.items(), key=lambda entry: -entry[1])
        self._done({name: time / total for name, time in ordered})
