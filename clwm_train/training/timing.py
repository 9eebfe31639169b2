"""How long an update takes, for budgets in minutes."""

from __future__ import annotations

import time

import torch

from clwm_data.store import Store
from clwm_train.data.mapped import read_task_data
from clwm_train.runs.run import Run
from clwm_train.settings import DEFAULT_EXECUTION, Execution
from clwm_train.training.decide import decide_execution
from clwm_train.training.precision import matmul_precision
from clwm_train.training.threads import best_threads, cpu_threads
from clwm_train.training.trainer import Trainer

#: Parts of a timing; the quickest one counts, since other processes only ever make an update slower.
PARTS = 5
#: Seconds of each part, and its updates at least.
PART_SECONDS = 1.0
FEWEST_UPDATES = 4


def seconds_per_update(run: Run, store: Store, execution: Execution = DEFAULT_EXECUTION) -> float:
    """Seconds of an update of all seeds of a run on this machine, without metrics, checkpoints, evaluations.

    Args:
        run: the run as described (:func:`~clwm_train.runs.run.describe_run`); nothing is written.
        store: its data.
        execution: where and how it will be trained.

    Raises:
        ClwmError: it cannot be trained here.
    """
    decided = decide_execution(execution, store, run.config.steps)
    device = torch.device(decided.device)
    config = run.config.model_copy(update={"evaluation": None})
    data = read_task_data(store, config.data, device=device, memory=decided.memory)
    trainer = Trainer(Run(run.path, config, run.record), data, device, compiles=decided.compile)
    threads = decided.threads or best_threads(trainer.learner.agent, config.batch)
    with cpu_threads(threads), matmul_precision(config.precision):
        # Compilation, allocation and caches are not part of an update.
        _time(trainer, device, FEWEST_UPDATES * config.representation_every, 0.0)
        return min(
            _time(trainer, device, FEWEST_UPDATES * config.representation_every, PART_SECONDS)
            for _ in range(PARTS)
        )


def _time(trainer: Trainer, device: torch.device, updates: int, seconds: float) -> float:
    """Seconds per update over whole groups of ``updates``, until ``seconds`` have passed."""
    began, done, elapsed = time.perf_counter(), 0, 0.0
    while done == 0 or elapsed < seconds:
        for _ in range(updates):
            trainer.update(recorded=True)
            trainer.step += 1
        done += updates
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        elapsed = time.perf_counter() - began
    return elapsed / done
