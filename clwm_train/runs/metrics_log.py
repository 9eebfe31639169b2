"""Metrics on disk: a file of JSON lines."""

from __future__ import annotations

import itertools
import json
import math
import os
import shutil
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from clwm_data.bounded import open_file
from clwm_data.disk import disk_errors
from clwm_data.errors import DamagedDataError, InvalidInputError
from clwm_data.store.atomic import replacing

#: Keys that measure the machine, not the training: they differ between identical runs.
THROUGHPUT = ("updates_per_s", "transitions_per_s", "seconds", "processor_seconds")
#: The last of these: seconds of training until then (of all seeds of the run), without evaluations: elapsed,
#: and of the processor.
SPENT = SECONDS, PROCESSOR_SECONDS = THROUGHPUT[-2:]
#: Begins the names of metrics of evaluations while training, which have rows of their own.
EVALUATION_PREFIX = "eval/"

#: Maximum size of the file, and of a row: a thousand seeds with a thousand rows each need less.
MAX_METRICS_BYTES = 2**30
MAX_ROW_BYTES = 2**16

#: What to do when the disk is full.
AFTERWARDS = "checkpoints are intact, and --resume goes on from the latest"

Row = dict[str, Any]


class MetricsLog:
    """Appends rows ``{"step": int, "seed": int, <metric>: float, ...}``.

    Opening it drops the rows of updates that will be repeated: those beyond ``step`` (of a run that was
    interrupted after its last checkpoint), and those of the unfinished interval at the end of a run. Damaged
    rows are dropped, too, and those of other seeds; the damaged file is kept beside the new one.

    Args:
        path: the JSON-lines file.
        seeds: seeds of the run.
        step: updates done so far.
        every: updates per row.
        warn: called with a message about rows that are damaged or missing.

    Attributes:
        kept: the rows in the file when it was opened.
        dropped: those that were dropped.
    """

    def __init__(
        self,
        path: Path,
        *,
        seeds: Collection[int],
        step: int,
        every: int,
        warn: Callable[[str], object] = warnings.warn,
    ) -> None:
        self._path = path
        rows = _read_sound_rows(path, seeds, warn) if path.exists() else iter(())
        self.kept: list[Row] = []
        self.dropped: list[Row] = []
        for row in rows:
            stays = row["step"] <= step and (row["step"] % every == 0 or evaluates(row))
            (self.kept if stays else self.dropped).append(row)
        with replacing(path) as temporary:
            temporary.write_text(
                "".join(f"{json.dumps(row)}\n" for row in self.kept), encoding="utf-8", newline="\n"
            )
        self._file = path.open("a", encoding="utf-8", newline="\n")
        if lacking := _lacking(path, self.kept, seeds, step=step, every=every):
            warn(lacking)
        #: Both seconds of training until ``step``: what the last row says, and the same speed from there.
        self._spent = _spent(self.kept[-1] if self.kept else {"step": 1}, step)

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


def read_metrics(path: Path, seeds: Collection[int] | None = None) -> Iterator[Row]:
    """The rows of a JSON-lines file; an incomplete last line is skipped.

    Args:
        path: the file.
        seeds: seeds of the run; ``None``: any.

    Raises:
        DamagedDataError: a damaged line before the last.
        InvalidInputError: the file is larger than any run writes.
        OSError: it cannot be read, or is not a regular file.
    """
    damaged: int | None = None
    for number, row in _numbered_rows(path, seeds):
        if damaged is not None:
            raise DamagedDataError(f"{path}:{damaged}: is damaged: delete the line to leave it out")
        if row is None:
            damaged = number
        else:
            yield row


def shortened(path: Path, seeds: Collection[int], *, step: int, every: int) -> str | None:
    """What a file lacks at its end of the first ``step`` updates, in a line; ``None`` if it lacks nothing.

    Args:
        path: the JSON-lines file.
        seeds: seeds of the run.
        step: updates done.
        every: updates per row.

    Raises:
        DamagedDataError: a damaged line before the last.
    """
    sound = True
    for _, row in _numbered_rows(path, seeds):
        sound = row is not None
    if not sound:
        return f"{path}: its last line is damaged and left out: metrics and times are incomplete"
    return _lacking(path, read_metrics(path, seeds), seeds, step=step, every=every)


def _lacking(path: Path, rows: Iterable[Row], seeds: Collection[int], *, step: int, every: int) -> str | None:
    """Which updates the rows of training do not reach, of some seed."""
    ends = dict.fromkeys(seeds, 0)
    for row in rows:
        if not evaluates(row):
            ends[row["seed"]] = max(ends[row["seed"]], row["step"])
    reached = min(ends.values())
    if reached >= step // every * every:
        return None
    return f"{path}: holds no rows from update {reached + 1} to {step}: metrics and times are incomplete"


def _numbered_rows(path: Path, seeds: Collection[int] | None) -> Iterator[tuple[int, Row | None]]:
    """Every line's number and row; ``None`` for one that is damaged, or of other seeds. One line at a time is
    in memory.
    """
    with open_file(path) as stream:
        if os.fstat(stream.fileno()).st_size > MAX_METRICS_BYTES:
            raise InvalidInputError(
                f"{path}: has more than {MAX_METRICS_BYTES} bytes, no run writes that many: move it away"
            )
        for number in itertools.count(1):
            line = stream.readline(MAX_ROW_BYTES)
            if not line:
                return
            row = _parse(line)
            foreign = row is not None and seeds is not None and row["seed"] not in seeds
            yield number, None if foreign else row


def _read_sound_rows(path: Path, seeds: Collection[int], warn: Callable[[str], object]) -> Iterator[Row]:
    """The undamaged rows; a copy of the file stays beside it if any row but the last is damaged."""
    damaged: list[int] = []
    number = 0
    for number, row in _numbered_rows(path, seeds):
        if row is None:
            damaged.append(number)
        else:
            yield row
    if damaged[-1:] == [number]:
        damaged.pop()
    if damaged:
        aside, copies = path.with_name(f"{path.stem}.damaged{path.suffix}"), 1
        while aside.exists():  # of earlier damage
            copies += 1
            aside = path.with_name(f"{path.stem}.damaged-{copies}{path.suffix}")
        shutil.copyfile(path, aside)
        numbers = ", ".join(map(str, damaged[:5])) + (", ..." if len(damaged) > 5 else "")
        warn(f"{path}: is damaged in line {numbers}: left out; the file as it was is {aside.name}")


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
    return row if all(map(_is_finite, row.values())) else None


def _is_finite(value: object) -> bool:
    """Whether a value of a row is one that :meth:`MetricsLog.write` writes."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer beyond floats
        return False


def _spent(row: Row, step: int) -> tuple[float, float]:
    """Seconds until ``step``, at the speed until a row; NaN, which is not written, if it does not tell."""
    if step == 0:
        return 0.0, 0.0
    elapsed, processor = (row.get(name, math.nan) * step / row["step"] for name in SPENT)
    return elapsed, processor


def evaluates(row: Row) -> bool:
    """Whether a row is that of an evaluation while training."""
    return any(name.startswith(EVALUATION_PREFIX) for name in row)
