"""Training a run."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

import torch

from clwm_data.errors import ClwmError, ConflictError, InvalidInputError
from clwm_data.store import Store
from clwm_train.data.mapped import read_task_data
from clwm_train.out_of_memory import memory_errors
from clwm_train.runs.differences import differences
from clwm_train.runs.lock import run_lock
from clwm_train.runs.run import RECORD, Run, discard_unbegun, keep_config, open_run, write_run
from clwm_train.runs.same_data import check_same_data
from clwm_train.settings import DEFAULT_EXECUTION, Execution
from clwm_train.tracking import check_trackers
from clwm_train.training.allocator import freed_memory
from clwm_train.training.decide import decide_execution
from clwm_train.training.footprint import check_fits
from clwm_train.training.precision import matmul_precision
from clwm_train.training.profile import Shares
from clwm_train.training.threads import best_threads, cpu_threads, is_large
from clwm_train.training.trainer import Evaluator, Trainer, UpdateCallback

#: Where memory does not suffice.
REMEDY = "train fewer seeds, or smaller networks and batches (--set batch.windows=...)"


def train_run(
    run: Run,
    store: Store,
    *,
    execution: Execution = DEFAULT_EXECUTION,
    steps: int | None = None,
    stop: Callable[[], bool] = lambda: False,
    on_progress: UpdateCallback | None = None,
    profiled: Callable[[Shares], None] | None = None,
    evaluator: Evaluator | None = None,
    trackers: Sequence[str] | None = None,
    warn: Callable[[str], object] = warnings.warn,
) -> bool:
    """Train a run on its store from its latest checkpoint.

    A run that was only described (:func:`~clwm_train.runs.run.describe_run`) is written once everything that
    can fail has succeeded: its data are read and its networks are built. (Ten parameters: all but the first
    two are optional.)

    With large networks on CPU, the process then keeps freed memory (:mod:`clwm_train.training.allocator`).

    Args:
        run: the run: described, new, or interrupted.
        store: the data that the run began with.
        execution: where and how. Memory-mapped data give bit-identical results. A compiled update
            (:mod:`clwm_data.compiler`) pays off after a minute or two, and its sums round differently; left
            open, it is used as the run was begun, or in new runs of 10,000 updates or more if there is a
            compiler (else with a warning). Threads left open: one for small networks, all cores for large
            ones.
        steps: total number of updates, the configuration's by default; a run that has as many is unchanged.
        stop: called after every update; returns whether to stop (with a checkpoint).
        on_progress: called after every update.
        profiled: if given, some updates are traced into the run's folder; called with each part's share of
            the time.
        evaluator: evaluates the agent, in runs whose configuration requires it
            (:func:`clwm_train.evaluation.while_training.training_evaluator`).
        trackers: names of trackers; ``None``: those that the run began with, TensorBoard for a new one.
        warn: called with warnings.

    Returns:
        whether all updates are done.

    Raises:
        ConflictError: another process trains the run, or the store holds other data than it began with.
        InvalidInputError: ``steps`` exceeds the updates over which the learning rates decay, or there is no
            such tracker.
        DivergedError: a metric or a weight became infinite or NaN.
        UnavailableError: nothing can be compiled here, the disk is full, or memory does not suffice.
    """
    check_same_data(run, store)
    most = run.config.steps
    if run.config.learning_rate_decay and steps is not None and steps > most:
        raise InvalidInputError(
            f"{run.path}: its learning rates fall to 0 at update {most:,} (learning_rate_decay), so it "
            f"cannot go on to {steps:,}: train a new run with --steps {steps}"
        )
    check_trackers(trackers or ())
    decided = decide_execution(execution, store, most, warn, run.record.compiled)
    device = torch.device(decided.device)
    with run_lock(run.path), memory_errors(run.path, REMEDY):
        _check_own(run)
        check_fits(run, device)
        try:
            data = read_task_data(store, run.config.data, device=device, memory=decided.memory)
        except ClwmError:
            discard_unbegun(run)  # its record would claim the digest of data that could not be read
            raise
        trainer = Trainer(
            run,
            data,
            device,
            compiles=decided.compile,
            evaluator=evaluator,
            trackers=trackers,
            warn=warn,
        )
        if (run.path / RECORD).exists():
            keep_config(run)
        else:
            write_run(run.begun(compiled=decided.compile))
        agent, batch = trainer.learner.agent, run.config.batch
        kept = device.type == "cpu" and is_large(agent, batch)
        count = decided.threads or best_threads(agent, batch)
        with freed_memory(kept=kept), cpu_threads(count), matmul_precision(run.config.precision):
            return trainer.train(steps or most, stop=stop, on_progress=on_progress, profiled=profiled)


def _check_own(run: Run) -> None:
    """Refuse the folder of another run, which may have begun since the folder was found free."""
    changed = differences(open_run(run.path), run) if (run.path / RECORD).exists() else []
    if changed:
        raise ConflictError(
            f"{run.path}: another run was begun there meanwhile ({changed[0]}): choose another --out (in "
            "Python out=...)"
        )
