"""Weights & Biases (extra ``wandb``).

Where it logs is its own affair: ``WANDB_MODE=offline`` writes into the run's folder and contacts nothing, and
``wandb sync`` uploads that later; ``WANDB_PROJECT`` and ``WANDB_ENTITY`` name the project.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from clwm_data.extras import require
from clwm_train.runs.metrics_log import Row, evaluates
from clwm_train.tracking.base import PROJECT, Tracked

#: Name of the metric that is the x axis: W&B's own step can neither go back nor be given twice.
AXIS = "update"


class WandB:
    """See :class:`~clwm_train.tracking.base.Tracker`."""

    def __init__(self, tracked: Tracked) -> None:
        self._wandb = require("wandb", "wandb", "tracking with wandb")
        self._repeated = set(tracked.repeated) if tracked.resumed else set()
        self._runs: dict[int, Any] = {}
        self._update = dict.fromkeys(tracked.ids, tracked.step)  # of a table, which W&B would put at 0
        try:
            for seed, identity in tracked.ids.items():
                self._runs[seed] = run = self._begin(tracked, seed, identity)
                run.define_metric(AXIS, hidden=True)
                run.define_metric("*", step_metric=AXIS)
        except BaseException:
            self.close()
            raise
        if not tracked.resumed:
            for row in tracked.rows or ():
                self.log(row)

    def _begin(self, tracked: Tracked, seed: int, identity: str) -> Any:
        return self._wandb.init(
            project=os.environ.get("WANDB_PROJECT") or PROJECT,
            dir=str(tracked.folder.absolute()),
            id=identity,
            resume="allow",
            reinit="create_new",
            name=tracked.name(seed),
            group=tracked.group,
            tags=tracked.tags,
            config=tracked.config(seed),
            allow_val_change=True,  # a resumed run may have more steps
            settings=self._wandb.Settings(console="off"),
        )

    def log(self, row: Row) -> None:
        """Log a row, unless it was logged before training was interrupted."""
        key = (row["step"], row["seed"], evaluates(row))
        if key in self._repeated:
            self._repeated.discard(key)
            return
        if row["seed"] in self._runs:
            values = {name: value for name, value in row.items() if name not in ("step", "seed")}
            self._runs[row["seed"]].log({**values, AXIS: row["step"]})
            self._update[row["seed"]] = row["step"]

    def table(
        self, seed: int, name: str, header: Sequence[str], rows: Sequence[Sequence[str | float]]
    ) -> None:
        """A table, and its numbers in the summary of the run."""
        run = self._runs[seed]
        table = self._wandb.Table(columns=list(header), data=[list(map(str, row)) for row in rows])
        run.log({name: table, AXIS: self._update[seed]})
        for *words, value in rows:
            if isinstance(value, float):
                run.summary["/".join([name, *map(str, words)])] = value

    def flush(self) -> None:
        """Its own process has written every row."""

    def close(self) -> None:
        """Finish the runs, which uploads what is left."""
        for run in self._runs.values():
            run.finish()
