"""TensorBoard: files in the run's folder, a folder per seed."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from clwm_train.runs.metrics_log import Row, evaluates
from clwm_train.runs.run import TENSORBOARD
from clwm_train.tracking.base import Tracked


class TensorBoard:
    """See :class:`~clwm_train.tracking.base.Tracker`."""

    def __init__(self, tracked: Tracked) -> None:
        from torch.utils.tensorboard import SummaryWriter

        # TensorBoard drops everything beyond one step; rows kept beyond it (evaluations) are written again.
        rows = tracked.rows or ()
        purge = max((row["step"] for row in rows if not evaluates(row)), default=0) + 1
        folder = tracked.folder / TENSORBOARD
        if not os.access(folder if folder.exists() else tracked.folder, os.W_OK):
            raise PermissionError(f"{folder}: cannot be written")  # its thread would end in a traceback
        self._writers: dict[int, Any] = {
            seed: SummaryWriter(
                str(folder / f"seed-{seed}"), purge_step=None if tracked.rows is None else purge
            )
            for seed in tracked.ids
        }
        for row in rows:
            if row["step"] >= purge:
                self.log(row)

    def log(self, row: Row) -> None:
        """Draw a row."""
        writer = self._writers.get(row["seed"])
        for name, value in row.items():
            if writer is not None and name not in ("step", "seed"):
                writer.add_scalar(name, value, row["step"])

    def table(
        self, seed: int, name: str, header: Sequence[str], rows: Sequence[Sequence[str | float]]
    ) -> None:
        """A table as text."""
        lines = [header, ["---"] * len(header), *rows]
        text = "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)
        self._writers[seed].add_text(name, text)

    def flush(self) -> None:
        """Flush the files."""
        for writer in self._writers.values():
            writer.flush()

    def close(self) -> None:
        """Close the files."""
        for writer in self._writers.values():
            writer.close()
