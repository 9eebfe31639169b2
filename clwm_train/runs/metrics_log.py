"""Metrics on disk: JSON lines for programs, TensorBoard for people."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

from clwm_data.errors import ClwmError
from clwm_data.store.atomic import replacing

#: Keys that tell of the machine, not of the training: they differ between two equal runs.
THROUGHPUT = ("updates_per_s", "transitions_per_s")


class MetricsLog:
    """Appends rows ``{"step": int, "seed": int, <figure>: float, ...}``.

    Args:
        path: the JSON-lines file.
        tensorboard: folder of TensorBoard's files.
        step: updates done so far. Rows beyond it (of a run that was cut off after its last checkpoint) are
            dropped, and so is the row of the unfinished interval that a run ended with.
        every: updates per row.
    """

    def __init__(self, path: Path, tensorboard: Path, step: int, every: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        rows = read_metrics(path) if path.exists() else iter(())
        kept = [row for row in rows if row["step"] <= step and row["step"] % every == 0]
        with replacing(path) as temporary:
            temporary.write_text("".join(f"{json.dumps(row)}\n" for row in kept), encoding="utf-8")
        self._file = path.open("a", encoding="utf-8")
        folder = str(tensorboard)
        self._writer: Any = SummaryWriter(folder, purge_step=step + 1)

    def write(self, step: int, seed: int, figures: Mapping[str, float]) -> None:
        """Append a row; figures that are not finite are left out (JSON has no NaN)."""
        finite = {name: value for name, value in figures.items() if math.isfinite(value)}
        self._file.write(json.dumps({"step": step, "seed": seed, **finite}, allow_nan=False) + "\n")
        self._file.flush()
        for name, value in finite.items():
            self._writer.add_scalar(f"seed-{seed}/{name}", value, step)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()
        self._writer.close()


def read_metrics(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a JSON-lines file; a last line that was cut off is skipped.

    Raises:
        ClwmError: a damaged line before the last.
    """
    lines = path.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            if number == len(lines):
                return
            raise ClwmError(f"{path}:{number}: is not JSON: {error.msg}") from error
        yield row
