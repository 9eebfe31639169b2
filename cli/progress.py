"""Progress on stderr: a bar on a terminal, otherwise a line from time to time."""

from __future__ import annotations

import sys
import time
from typing import Any

import click
from tqdm import tqdm

#: Seconds between two lines in a log file.
INTERVAL = 30.0


class ProgressBar(tqdm):  # type: ignore[type-arg]
    """A bar on a terminal; elsewhere (nohup, Slurm, a pipe) a line every ``interval`` seconds.

    Args:
        total: number of what is counted; ``None`` if it is not known yet.
        unit: what is counted, in the singular; ``B`` for bytes.
        description: what is being done.
        interval: seconds between two lines.
    """

    def __init__(self, total: int | None, unit: str, description: str, *, interval: float = INTERVAL) -> None:
        terminal = sys.stderr is not None and sys.stderr.isatty()
        super().__init__(total=total, unit=unit, desc=description, disable=not terminal, dynamic_ncols=True)
        self._lines = not terminal
        self._interval = interval
        self._description, self._unit = description, unit
        self._began = self._last = time.monotonic()
        self._first: float | None = None
        self._metrics = ""

    def update(self, n: float | None = 1) -> bool | None:
        """Count ``n`` more as done."""
        if not self._lines:
            return super().update(n)
        self.n += n or 0
        if self._first is None:  # a resumed run does not begin at 0
            self._first = self.n
        now = time.monotonic()
        if now - self._last >= self._interval:
            self._last = now
            click.echo(self._line(now), err=True)
        return None

    def set_postfix(self, *arguments: Any, **options: Any) -> None:
        """Set the metrics that are shown beside the progress."""
        if not self._lines:
            super().set_postfix(*arguments, **options)
        else:
            self._metrics = ", ".join(f"{name} {value}" for name, value in dict(*arguments).items())

    def _line(self, now: float) -> str:
        speed = (self.n - (self._first or 0)) / max(now - self._began, 1e-9)
        done, unit = f"{self.n:,}", "bytes" if self._unit == "B" else f"{self._unit}s"
        if self.total:
            done += f" of {self.total:,} {unit} ({100 * self.n / self.total:.0f} %)"
            if speed > 0:
                done += f", {tqdm.format_interval((self.total - self.n) / speed)} left"
        else:
            done += f" {unit}"
        return f"{self._description}: {done}" + (f"; {self._metrics}" if self._metrics else "")
