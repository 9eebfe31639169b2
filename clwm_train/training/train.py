"""Training a run."""

from __future__ import annotations

from collections.abc import Callable

import torch

from clwm_data.errors import ClwmError
from clwm_data.store import Store
from clwm_train.data.mapped import read_task_data
from clwm_train.runs.run import Run, check_same_data, discard_unbegun
from clwm_train.settings import DEFAULT_EXECUTION, Execution
from clwm_train.training.allocator import keep_freed_memory
from clwm_train.training.decide import decide_execution
from clwm_train.training.precision import matmul_precision
from clwm_train.training.profile import Shares
from clwm_train.training.threads import best_threads, cpu_threads, is_large
from clwm_train.training.trainer import ProgressCallback, Trainer


def train_run(
    run: Run,
    store: Store,
    *,
    execution: Execution = DEFAULT_EXECUTION,
    steps: int | None = None,
    stop: Callable[[], bool] = lambda: False,
    progress: ProgressCallback | None = None,
    profiled: Callable[[Shares], None] | None = None,
) -> bool:
    """Train a run on its store from where it stands.

    Large networks on CPU: from then on the process keeps freed memory (:mod:`clwm_train.training.allocator`).

    Args:
        run: new, or interrupted.
        store: the data that the run began with.
        execution: where and how. Mapped data gives the same bits as data that is held. A compiled update
            (:mod:`.compiler`) is quicker after a minute or two, and its sums round differently; left open it
            is used in runs of 10,000 updates or more, where there is a compiler (else a warning). Threads
            left open: one for small networks, all cores for large ones.
        steps: updates in all; the configuration's unless given.
        stop: asked after every update whether to stop (with a checkpoint).
        progress: told after every update.
        profiled: trace some updates into the run's folder, and tell each part's share of the time.

    Returns:
        whether all steps are done.

    Raises:
        ClwmError: the store holds other data than the run began with, the training diverged, more steps are
            asked for than the learning rates fall over, or nothing can be compiled here.
    """
    check_same_data(run, store)
    most = run.config.steps
    if run.config.learning_rate_decay and steps is not None and steps > most:
        raise ClwmError(
            f"{run.path}: its learning rates fall to 0 at update {most:,} (learning_rate_decay), so it "
            f"cannot go on to {steps:,}: train a new run with --steps {steps}"
        )
    decided = decide_execution(execution, store, most)
    device = torch.device(decided.device)
    try:
        data = read_task_data(store, run.config.data, device=device, memory=decided.memory)
    except ClwmError:
        discard_unbegun(run)  # it would attest the digest of data that could not be read
        raise
    trainer = Trainer(run, data, device, compiles=decided.compile)
    agent, batch = trainer.learner.agent, run.config.batch
    if device.type == "cpu" and is_large(agent, batch):
        keep_freed_memory()
    count = decided.threads or best_threads(agent, batch)
    with cpu_threads(count), matmul_precision(run.config.precision):
        return trainer.train(steps or run.config.steps, stop=stop, on_progress=progress, profiled=profiled)
