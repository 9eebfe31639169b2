"""Trackio (extra ``trackio``): a dashboard over files of this machine, ``trackio show --project clwm``.

``TRACKIO_DIR`` says where the files are. Nothing is sent anywhere unless ``TRACKIO_SPACE_ID`` names a Space.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from contextvars import copy_context
from typing import Any

from clwm_data.extras import require
from clwm_train.runs.metrics_log import Row, evaluates
from clwm_train.tracking.base import PROJECT, Tracked


class Trackio:
    """See :class:`~clwm_train.tracking.base.Tracker`."""

    def __init__(self, tracked: Tracked) -> None:
        self._trackio = require("trackio", "trackio", "tracking with trackio")
        self._repeated = set(tracked.repeated) if tracked.resumed else set()
        with _on_stderr():
            # Beginning a run ends the one before, which a context remembers: each seed gets its own context.
            self._runs: dict[int, Any] = {
                seed: copy_context().run(self._begin, tracked, seed, identity)
                for seed, identity in tracked.ids.items()
            }
        if not tracked.resumed:
            for row in tracked.rows or ():
                self.log(row)

    def _begin(self, tracked: Tracked, seed: int, identity: str) -> Any:
        return self._trackio.init(
            project=PROJECT,
            name=f"{tracked.name(seed)} ({identity})",  # it knows a run by its name
            group=tracked.group,
            config={**tracked.config(seed), "tags": tracked.tags},
            resume="allow",
            embed=False,
            auto_log_gpu=False,
            auto_log_cpu=False,
        )

    def log(self, row: Row) -> None:
        """Log a row, unless it was logged before training was interrupted."""
        key = (row["step"], row["seed"], evaluates(row))
        if key in self._repeated:
            self._repeated.discard(key)
            return
        if row["seed"] in self._runs:
            values = {name: value for name, value in row.items() if name not in ("step", "seed")}
            self._runs[row["seed"]].log(values, step=row["step"])

    def table(
        self, seed: int, name: str, header: Sequence[str], rows: Sequence[Sequence[str | float]]
    ) -> None:
        """A table, and its numbers as metrics."""
        table = self._trackio.Table(columns=list(header), data=[list(row) for row in rows])
        numbers = {
            "/".join([name, *map(str, words)]): value for *words, value in rows if isinstance(value, float)
        }
        self._runs[seed].log({name: table, **numbers})

    def flush(self) -> None:
        """Its own thread writes every row within a second."""

    def close(self) -> None:
        """Finish the runs, which writes what is left."""
        with _on_stderr():
            for run in self._runs.values():
                run.finish()


@contextmanager
def _on_stderr() -> Iterator[None]:
    """A block whose messages do not mix with the output of a command."""
    with redirect_stdout(sys.stderr):
        yield
