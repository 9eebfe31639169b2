"""The time that a training takes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Stopwatch:
    """Seconds since it was made: elapsed, and of the processor (of all threads of this process)."""

    def __init__(self) -> None:
        self._elapsed = time.perf_counter()
        self._processor = time.process_time()

    def read(self) -> tuple[float, float]:
        """Seconds elapsed, and of the processor."""
        return time.perf_counter() - self._elapsed, time.process_time() - self._processor

    @contextmanager
    def paused(self) -> Iterator[None]:
        """A block that does not count."""
        elapsed, processor = self.read()
        try:
            yield
        finally:
            now = self.read()
            self._elapsed += now[0] - elapsed
            self._processor += now[1] - processor
