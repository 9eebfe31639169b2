"""What a tracker is, and what it is told about a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from clwm_train.runs.metrics_log import Row
from clwm_train.runs.run import Run

#: Name of the project where a tracker has projects.
PROJECT = "clwm"
#: Longest tag that all trackers accept.
LONGEST_TAG = 64


class Tracker(Protocol):
    """Shows the metrics of a run somewhere; each seed is a run of its own there, so that curves overlay."""

    def log(self, row: Row) -> None:
        """Show a row ``{"step": int, "seed": int, <metric>: float, ...}``."""

    def table(
        self, seed: int, name: str, header: Sequence[str], rows: Sequence[Sequence[str | float]]
    ) -> None:
        """Show a table of results of a seed; another of the same name replaces it."""

    def flush(self) -> None:
        """Called at every checkpoint: what was logged should survive the end of the process."""

    def close(self) -> None:
        """Called once at the end."""


@dataclass(frozen=True)
class Tracked:
    """What a tracker is told when it is opened.

    Attributes:
        run: the run.
        ids: seed -> identity of its run at the tracker, which stays the same when training is resumed.
        resumed: these were used before.
        step: updates done.
        rows: rows logged up to there, of this training or of earlier ones; ``None``: nothing is trained now,
            so that all that was shown stays.
        repeated: step, seed and kind of rows beyond it, which the tracker was told and will be told again.
    """

    run: Run
    ids: Mapping[int, str]
    resumed: bool = False
    step: int = 0
    rows: Sequence[Row] | None = None
    repeated: frozenset[tuple[int, int, bool]] = field(default=frozenset())

    @property
    def folder(self) -> Path:
        """Folder of the run."""
        return self.run.path

    @property
    def group(self) -> str:
        """Name that the seeds of the run share."""
        return self.run.path.name

    @property
    def tags(self) -> list[str]:
        """Family, dataset, method and preset: the same for all seeds."""
        record = self.run.record
        words = (record.family, record.store_name, Path(record.method).stem, Path(record.preset).stem)
        return list(dict.fromkeys(word[:LONGEST_TAG] for word in words))

    def name(self, seed: int) -> str:
        """Name of the run of a seed."""
        return self.group if len(self.run.record.seeds) == 1 else f"{self.group}, seed {seed}"

    def config(self, seed: int) -> dict[str, Any]:
        """Configuration and origin of the run of a seed."""
        record = self.run.record
        return {
            "seed": seed,
            "method": record.method,
            "name": self.run.label,
            "preset": record.preset,
            "family": record.family,
            "store": record.store_name,
            "store_sha256": record.store_sha256,
            "created": record.created,
            "packages": record.packages,
            **self.run.config.model_dump(mode="json"),
        }
