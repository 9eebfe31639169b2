"""The log of a training: metrics.jsonl, and whoever else shows it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Self

from clwm_train.runs.metrics_log import EVALUATION_PREFIX, MetricsLog, Row, evaluates
from clwm_train.runs.run import METRICS, Run
from clwm_train.tracking.opening import open_trackers


class TrainingLog:
    """Writes rows of metrics to the run's file, and then to its trackers, which cannot harm the training.

    Args:
        run: the run.
        step: updates done so far.
        trackers: names of trackers; ``None``: those that the run began with.
        warn: called with a message about damaged rows, or a tracker that fails.

    Raises:
        InvalidInputError: there is no such tracker.
        MissingExtraError: its package is not installed.
    """

    def __init__(
        self, run: Run, *, step: int, trackers: Sequence[str] | None, warn: Callable[[str], object]
    ) -> None:
        self._seeds = run.record.seeds
        every = run.config.log_every
        self._file = MetricsLog(run.path / METRICS, seeds=self._seeds, step=step, every=every, warn=warn)
        self._last: dict[int, dict[bool, Row]] = {seed: {} for seed in self._seeds}
        for row in self._file.kept:
            self._remember(row)
        self._trackers = open_trackers(
            run,
            trackers,
            warn,
            step=step,
            rows=self._file.kept,
            repeated=[
                (row["step"], row["seed"], evaluates(row)) for row in self._file.dropped if row["step"] > step
            ],
        )

    def write(self, step: int, seed: int, metrics: Mapping[str, float]) -> None:
        """Append a row; metrics that are not finite are left out.

        Raises:
            UnavailableError: it cannot be written.
        """
        row = self._file.write(step, seed, metrics)
        self._remember(row)
        for tracker in self._trackers:
            tracker.log(row)

    def spent(self, since: tuple[float, float]) -> tuple[float, float]:
        """See :meth:`~clwm_train.runs.metrics_log.MetricsLog.spent`."""
        return self._file.spent(since)

    def sync(self) -> None:
        """Flush all rows to the disk, before anything that is written later.

        Raises:
            UnavailableError: they cannot be written.
        """
        self._file.sync()
        for tracker in self._trackers:
            tracker.flush()

    def show_last(self) -> None:
        """Show the trackers a table of the last metrics and the last evaluation of every seed."""
        for seed, rows in self._last.items():
            table = [
                (name.removeprefix(EVALUATION_PREFIX), value)
                for row in rows.values()
                for name, value in row.items()
                if name not in ("step", "seed")
            ]
            for tracker in self._trackers if table else ():
                tracker.table(seed, "final", ("metric", "value"), table)

    def _remember(self, row: Row) -> None:
        self._last.setdefault(row["seed"], {})[evaluates(row)] = row

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.__exit__(*exception)
        for tracker in self._trackers:
            tracker.close()
