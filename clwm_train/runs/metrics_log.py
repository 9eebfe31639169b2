"""Metrics on disk: a file of JSON lines."""

from __future__ import annotations

import json
import math
import os
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from clwm_data.disk import disk_errors
from clwm_data.errors import DamagedDataError
from clwm_data.store.atomic import replacing

#: Keys that measure the machine, not the training: they differ between identical runs.
THROUGHPUT = ("updates_per_s", "transitions_per_s", "seconds", "processor_seconds")
#: The last of these: seconds of training until then (of all seeds of the run), without evaluations: elapsed,
#: and of the processor.
SPENT = SECONDS, PROCESSOR_SECONDS = THROUGHPUT[-2:]
#: Begins the names of metrics of evaluations while training, which have rows of their own.
EVALUATION_PREFIX = "eval/"

#: What to do when the disk is full.
AFTERWARDS = "checkpoints are intact, and --resume goes on from the latest"

Row = dict[str, Any]


class MetricsLog:
    """Appends rows ``{"step": int, "seed": int, <metric>: float, ...}``.

    Opening it drops the rows of updates that will be repeated: those beyond ``step`` (of a run that was
    interrupted after its last checkpoint), and those of the unfinished interval at the end of a run. Damaged
    rows are dropped, too; the damaged file is kept beside the new one.

    Args:
        path: the JSON-lines file.
        step: updates done so far.
        every: updates per row.
        warn: called with a message about damaged rows.

    Attributes:
        kept: the rows in the file when it was opened.
        dropped: those that were dropped.
    """

    def __init__(
        self, path: Path, *, step: int, every: int, warn: Callable[[str], object] = warnings.warn
    ) -> None:
        self._path = path
        rows = _read_sound_rows(path, warn) if path.exists() else []
        self.kept: list[Row] = []
        self.dropped: list[Row] = []
        for row in rows:
            stays = row["step"] <= step and (row["step"] % every == 0 or evaluates(row))
            (self.kept if stays else self.dropped).append(row)
        with replacing(path) as temporary:
            temporary.write_text("".join(f"{json.dumps(row)}\n" for row in self.kept), encoding="utf-8")
        self._file = path.open("a", encoding="utf-8")
        #: Both seconds of training until ``step``: what the last row says, and the same speed from there.
        self._spent = _spent(self.kept[-1], step) if self.kept else (0.0, 0.0)

    def spent(self, since: tuple[float, float]) -> tuple[float, float]:
        """Seconds of training of the whole run, elapsed and of the processor.

        Args:
            since: both, since this log was opened.
        """
        return self._spent[0] + since[0], self._spent[1] + since[1]

    def write(self, step: int, seed: int, metrics: Mapping[str, float]) -> Row:
        """Append a row; metrics that are not finite are left out (JSON has no NaN).

        Returns:
            the row.

        Raises:
            UnavailableError: it cannot be written.
        """
        finite = {name: value for name, value in metrics.items() if math.isfinite(value)}
        row = {"step": step, "seed": seed, **finite}
        with disk_errors(self._path, AFTERWARDS):
            self._file.write(json.dumps(row, allow_nan=False) + "\n")
            self._file.flush()
        return row

    def sync(self) -> None:
        """Flush all rows to the disk, before anything that is written later.

        Raises:
            UnavailableError: they cannot be written.
        """
        with disk_errors(self._path, AFTERWARDS):
            self._file.flush()
            os.fsync(self._file.fileno())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        # Every row was flushed when it was written: a full disk has already been reported.
        with suppress(OSError):
            self._file.close()


def read_metrics(path: Path) -> Iterator[Row]:
    """The rows of a JSON-lines file; an incomplete last line is skipped.

    Raises:
        DamagedDataError: a damaged line before the last.
    """
    lines = path.read_bytes().splitlines()
    for number, line in enumerate(lines, start=1):
        row = _parse(line)
        if row is not None:
            yield row
        elif number < len(lines):
            raise DamagedDataError(f"{path}:{number}: is damaged: delete the line to leave it out")


def _read_sound_rows(path: Path, warn: Callable[[str], object]) -> list[Row]:
    """The undamaged rows; the file is moved aside if any row but the last is damaged."""
    lines = path.read_bytes().splitlines()
    rows = [_parse(line) for line in lines]
    damaged = [number for number, row in enumerate(rows[:-1], start=1) if row is None]
    if damaged:
        aside = path.with_name(f"{path.stem}.damaged{path.suffix}")
        shutil.copyfile(path, aside)
        numbers = ", ".join(map(str, damaged[:5])) + (", ..." if len(damaged) > 5 else "")
        warn(f"{path}: is damaged in line {numbers}: left out; the file as it was is {aside.name}")
    return [row for row in rows if row is not None]


def _parse(line: bytes) -> Row | None:
    """A row, or ``None`` if the line is not one."""
    try:
        row = json.loads(line.decode())
    except (ValueError, RecursionError):
        return None
    if not isinstance(row, dict) or not all(type(row.get(key)) is int for key in ("step", "seed")):
        return None
    if row["step"] < 1:  # a row is a mean over updates
        return None
    return row if all(isinstance(value, int | float) for value in row.values()) else None


def _spent(row: Row, step: int) -> tuple[float, float]:
    """Seconds until ``step``, at the speed until a row; NaN, which is not written, if it does not tell."""
    elapsed, processor = (row.get(name, math.nan) * step / row["step"] for name in SPENT)
    return elapsed, processor


def evaluates(row: Row) -> bool:
    """Whether a row is that of an evaluation while training."""
    return any(name.startswith(EVALUATION_PREFIX) for name in row)
