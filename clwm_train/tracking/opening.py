"""Opening the trackers of a run: which, under which identities, and so that none can harm the training."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

from pydantic import Field

from clwm_data.errors import ClwmError, InvalidInputError
from clwm_data.extras import require
from clwm_data.store.atomic import write_json
from clwm_data.strict import StrictModel, Text, build_model, read_yaml
from clwm_data.suggestions import suggestion
from clwm_train.runs.metrics_log import Row
from clwm_train.runs.run import Run
from clwm_train.tracking.base import Tracked, Tracker

#: Name of a tracker -> its package and the extra that brings it.
TRACKERS = {
    "tensorboard": ("torch.utils.tensorboard", "train"),
    "wandb": ("wandb", "wandb"),
    "trackio": ("trackio", "trackio"),
}
#: What shows a run unless something else is asked for: files in its folder.
DEFAULT = ("tensorboard",)
#: File of a run's folder.
TRACKING = "tracking.json"

Warn = Callable[[str], object]


class TrackingRecord(StrictModel):
    """By whom a run is tracked.

    Attributes:
        trackers: names of trackers.
        ids: tracker -> seed -> identity of that seed's run there.
    """

    trackers: Annotated[tuple[Text, ...], Field(strict=False)]
    ids: dict[Text, dict[Text, Text]]


def check_trackers(names: Sequence[str]) -> tuple[str, ...]:
    """The names of trackers, each once, if all of them can be used here.

    Raises:
        InvalidInputError: there is no such tracker.
        MissingExtraError: its package is not installed.
    """
    for name in names:
        if name not in TRACKERS:
            hint = suggestion(name, TRACKERS, f"there are {', '.join(TRACKERS)}")
            if name == "none":
                hint = "for none at all, `--track none` stands alone (in Python: track=())"
            raise InvalidInputError(f"no tracker is called {name!r}: {hint}")
        require(*TRACKERS[name], f"tracking with {name}")
    return tuple(dict.fromkeys(names))


def open_trackers(
    run: Run,
    names: Sequence[str] | None,
    warn: Warn,
    *,
    step: int = 0,
    rows: Sequence[Row] | None = None,
    repeated: Iterable[tuple[int, int, bool]] = (),
) -> list[Tracker]:
    """Open trackers of a run; one that cannot be opened is left out with a warning.

    Args:
        run: the run.
        names: names of trackers; ``None``: those that the run began with.
        warn: called with a line about each tracker that fails, now or later.
        step: see :class:`~clwm_train.tracking.base.Tracked`, like the following.
        rows: rows logged so far; ``None``: nothing is trained, and a resumed training will not go on with
            these trackers because of this.
        repeated: rows that will be told again.

    Raises:
        InvalidInputError: there is no such tracker.
        MissingExtraError: its package is not installed.
    """
    before = read_tracking(run.path)
    chosen = check_trackers(tracker_names(run.path) if names is None else names)
    seeds = run.record.seeds
    ids = {name: {seed: _identity() for seed in seeds} for name in chosen}
    for name, known in before.ids.items() if before else ():
        ids[name] = {seed: known.get(str(seed)) or _identity() for seed in seeds}
    record = TrackingRecord(
        trackers=tracker_names(run.path) if rows is None else chosen,
        ids={name: {str(seed): one for seed, one in known.items()} for name, known in ids.items()},
    )
    if chosen != DEFAULT or before is not None:  # a run with the default has no such file
        write_json(run.path / TRACKING, record.model_dump(mode="json"))
    opened: list[Tracker] = []
    for name in chosen:
        resumed = before is not None and name in before.ids
        tracked = Tracked(run, ids[name], resumed, step, rows, frozenset(repeated))
        guarded = _Guarded(name, warn)
        guarded.open(tracked)
        opened.append(guarded)
    return opened


def read_tracking(folder: Path) -> TrackingRecord | None:
    """By whom a run is tracked, if anything but the default was asked for.

    Raises:
        InvalidInputError: the file is damaged.
    """
    path = folder / TRACKING
    return build_model(TrackingRecord, read_yaml(path)) if path.exists() else None


def tracker_names(folder: Path) -> tuple[str, ...]:
    """Names of the trackers of a run."""
    record = read_tracking(folder)
    return DEFAULT if record is None else record.trackers


def _identity() -> str:
    return uuid.uuid4().hex[:8]


class _Guarded:
    """A tracker whose first failure is told in a line, and which is then left alone."""

    def __init__(self, name: str, warn: Warn) -> None:
        self._name, self._warn = name, warn
        self._tracker: Tracker | None = None

    def open(self, tracked: Tracked) -> None:
        with self._guard("cannot be opened"):
            self._tracker = _make(self._name, tracked)

    def log(self, row: Row) -> None:
        with self._guard("has failed"):
            if self._tracker is not None:
                self._tracker.log(row)

    def table(
        self, seed: int, name: str, header: Sequence[str], rows: Sequence[Sequence[str | float]]
    ) -> None:
        with self._guard("has failed"):
            if self._tracker is not None:
                self._tracker.table(seed, name, header, rows)

    def flush(self) -> None:
        with self._guard("has failed"):
            if self._tracker is not None:
                self._tracker.flush()

    def close(self) -> None:
        with self._guard("could not be closed"):
            if self._tracker is not None:
                self._tracker.close()

    @contextmanager
    def _guard(self, what: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # whatever it is, the training is worth more
            self._tracker = None
            reason = str(error) if isinstance(error, ClwmError) else f"{type(error).__name__}: {error}"
            line = " ".join(reason.split()).rstrip(".")
            self._warn(f"{self._name} {what}: {line}: going on without it; metrics.jsonl has everything")


def _make(name: str, tracked: Tracked) -> Tracker:
    if name == "tensorboard":
        from clwm_train.tracking.tensorboard import TensorBoard

        return TensorBoard(tracked)
    if name == "wandb":
        from clwm_train.tracking.wandb import WandB

        return WandB(tracked)
    from clwm_train.tracking.trackio import Trackio

    return Trackio(tracked)
