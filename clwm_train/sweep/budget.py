"""Budgets of an experiment: so many updates, or as many as fit into some minutes on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator

from clwm_data.errors import ClwmError, DamagedDataError
from clwm_data.store import Store
from clwm_data.store.provenance import current_provenance
from clwm_data.strict import StrictModel, Text, build_model, read_yaml
from clwm_train.config import Count, TrainConfig
from clwm_train.runs.lock import run_lock
from clwm_train.runs.run import describe_run, write_model
from clwm_train.settings import Execution
from clwm_train.training.decide import decide_execution
from clwm_train.training.timing import seconds_per_update

#: Seconds to wait for another process that times the same method on the same data.
PATIENCE = 600.0

#: Up to a year.
Minutes = Annotated[float, Field(gt=0.0, le=525_600.0)]


class Budget(StrictModel):
    """How long a method is trained.

    Attributes:
        updates: so many updates.
        minutes: as many updates as fit into so many minutes for each seed, by a short timing when the first
            run of a method on a store begins; the timing is kept, so that nothing later changes the number.
    """

    updates: Count | None = None
    minutes: Minutes | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.updates is None) == (self.minutes is None):
            raise ValueError("give either updates or minutes")
        return self


class Timing(StrictModel):
    """The timing of a method on a store.

    Attributes:
        seconds_per_update: seconds of an update of all seeds.
        seeds: number of seeds that were trained together.
        device: where.
        compiled: whether the update was compiled.
        platform: machine type and operating system.
        created: time in ISO 8601, UTC.
    """

    seconds_per_update: Annotated[float, Field(ge=1e-9, le=1e6)]
    seeds: Count
    device: Text
    compiled: bool
    platform: Text
    created: Text

    def updates(self, minutes: float) -> int:
        """Updates that fit into so many minutes for each seed; at least one."""
        return max(1, round(60.0 * minutes * self.seeds / self.seconds_per_update))


def read_timing(path: Path) -> Timing | None:
    """A kept timing; ``None`` if there is none yet.

    Raises:
        DamagedDataError: the file is damaged.
    """
    try:
        return build_model(Timing, read_yaml(path)) if path.is_file() else None
    except ClwmError as error:
        raise DamagedDataError(
            f"{error}: restore it, or remove it together with the runs of its method"
        ) from error


def take_timing(
    path: Path,
    store: Store,
    config: TrainConfig,
    *,
    method: str,
    preset: str,
    seeds: tuple[int, ...],
    minutes: float,
    execution: Execution,
) -> Timing:
    """The kept timing of a method on a store; the first call takes it.

    (Eight parameters: those of :func:`~clwm_train.runs.run.describe_run`, and what is to be timed.)

    Raises:
        ConflictError: another process does not finish the same timing.
        ClwmError: it cannot be trained here.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with run_lock(path, patience=PATIENCE):
        kept = read_timing(path)
        if kept is not None:
            return kept
        run = describe_run(path, store, config, method=method, preset=preset, seeds=seeds)
        provenance = current_provenance()

        def take(compiled: bool) -> Timing:
            asked = execution.model_copy(update={"compile": compiled})
            decided = decide_execution(asked, store, config.steps)
            return Timing(
                seconds_per_update=seconds_per_update(run, store, decided),
                seeds=len(seeds),
                device=decided.device,
                compiled=compiled,
                platform=provenance.platform,
                created=provenance.created,
            )

        timing = take(bool(execution.compile))
        if execution.compile is None:
            # Left open, it depends on the number of updates, which depends on it.
            updates = timing.updates(minutes)
            if decide_execution(execution, store, updates).compile:
                timing = take(True)
        write_model(path, timing)
        return timing
