"""The training loop: batches, updates, metrics, evaluations, checkpoints."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from clwm_data.errors import DivergedError, InvalidInputError, NotFoundError, UnavailableError
from clwm_data.families.stored import StoredFamily
from clwm_train.data.sampler import TaskBatchSampler
from clwm_train.data.task_data import TaskData
from clwm_train.kernels.streams import RandomStreams
from clwm_train.metrics.representation import representation_metrics
from clwm_train.model.agent import Agent
from clwm_train.model.context_encoder import ContextEncoder
from clwm_train.runs.checkpoint import (
    AGENT,
    BEST,
    LEARNER,
    REMEDY,
    list_checkpoints,
    load_module,
    read_record,
    read_tensors,
    save_best,
    save_checkpoint,
)
from clwm_train.runs.metrics_log import EVALUATION_PREFIX, SPENT, THROUGHPUT
from clwm_train.runs.run import TRACE, Run
from clwm_train.tracking.log import TrainingLog
from clwm_train.training.allocator import freed_memory
from clwm_train.training.divergence import check_finite
from clwm_train.training.learner import Learner, Metrics
from clwm_train.training.meter import Meter
from clwm_train.training.pace import pace
from clwm_train.training.profile import Profiler, Shares, part
from clwm_train.training.recorded import RecordedUpdates
from clwm_train.training.stopwatch import Stopwatch

#: Called after every update with the number of updates done and the latest logged metrics of the first seed.
UpdateCallback = Callable[[int, dict[str, float]], None]
#: Evaluates the current agent: for each seed ``<protocol>/<split>/<metric>`` -> value. The best agent is
#: chosen by the first entry.
Evaluator = Callable[[Agent], Sequence[Mapping[str, float]]]


class Trainer:
    """Trains a run from its latest checkpoint, or from the beginning.

    All random numbers are functions of (seed, step), so an interrupted and resumed run is bit-identical to an
    uninterrupted one.

    Args:
        run: the run.
        data: arrays of its store.
        device: device to train on; by default that of ``data``.
        compiles: compute losses and gradients as compiled graphs. With device and data on a GPU updates are
            recorded in any case (:mod:`clwm_train.training.recorded`).
        evaluator: for runs that are evaluated while training (``evaluation`` of the configuration).
        trackers: names of trackers (:mod:`clwm_train.tracking`); ``None``: those that the run began with.
        warn: called with warnings.
    """

    def __init__(
        self,
        run: Run,
        data: TaskData,
        device: torch.device | None = None,
        *,
        compiles: bool = False,
        evaluator: Evaluator | None = None,
        trackers: Sequence[str] | None = None,
        warn: Callable[[str], object] = warnings.warn,
    ) -> None:
        self.run = run
        self.trackers = trackers
        self.warn = warn
        config, record = run.config, run.record
        if config.evaluation is not None and evaluator is None:
            raise InvalidInputError(f"{run.path}: is evaluated while training, but no evaluator is given")
        self.evaluator = evaluator
        parameters = run.told_parameters()
        family = run.task_family if parameters is not None else None
        if isinstance(family, StoredFamily) and family.left_out:
            told, untold = ", ".join(family.conditioning.names), ", ".join(family.left_out)
            warn(f"the agent is told {told} of its task, but not {untold}: not all tasks have it in one form")
        agent = Agent(config, record.seeds, record.observation_size, record.action_size, parameters)
        agent.normaliser.load_state_dict(data.normaliser.state_dict())
        device = device or data.device
        learner = Learner(config, agent.to(device), record.train_tasks, compiles=compiles)
        self.learner = learner.to(device)
        self.sampler = TaskBatchSampler(
            data,
            config.resolved_batch,
            record.seeds,
            next_observation=agent.next_observation,
            device=device,
        )
        # Always the same contexts, so that the rows of the log are comparable.
        self.probe = self.sampler.batch(0).context
        self.streams = RandomStreams(record.seeds, device)
        self.recorded = (
            RecordedUpdates(self.learner, self.sampler, self.streams)
            if device.type == data.device.type == "cuda"
            else None
        )
        self.meter = Meter()
        self.step = 0
        best = run.checkpoints / BEST
        #: Metric and value of the best agent in the evaluations while training.
        self.best = read_record(best, run).score if best.exists() else None
        checkpoints = list_checkpoints(run.checkpoints)
        if checkpoints:
            self._load(checkpoints[-1])

    def train(
        self,
        steps: int,
        *,
        stop: Callable[[], bool] = lambda: False,
        on_progress: UpdateCallback | None = None,
        profiled: Callable[[Shares], None] | None = None,
    ) -> bool:
        """Train until ``steps`` updates are done, or ``stop`` returns true; ends with a checkpoint.

        Args:
            steps: total number of updates.
            stop: called after every update; returns whether to stop.
            on_progress: called after every update.
            profiled: called with each part's share of the time; the trace is in the run's folder.

        Returns:
            whether all updates are done.

        Raises:
            DivergedError: a metric, a weight or an optimiser's moment is NaN or infinite; the last good
                checkpoint is kept.
            UnavailableError: the disk is full, or the update cannot be compiled.
        """
        if self.step >= steps:
            return True  # without changing anything in the folder
        path, config = self.run.path, self.run.config
        latest: dict[str, float] = {}
        saved = self.step if list_checkpoints(self.run.checkpoints) else -1
        with ExitStack() as stack:
            log = stack.enter_context(
                TrainingLog(self.run, step=self.step, trackers=self.trackers, warn=self.warn)
            )
            profiler = profiled and stack.enter_context(Profiler(path / TRACE, profiled))
            watch, since, before = Stopwatch(), 0.0, self.step
            while self.step < steps and not stop():
                try:
                    metrics = self.update(recorded=profiler is None)
                except UnavailableError:
                    if stop():  # the signal to stop has also ended the compiler
                        return False
                    raise
                with part("metrics"):
                    self.meter.add(metrics, self.step)
                self.step += 1
                if profiler:
                    profiler.step()
                if self.step % config.log_every == 0 or self.step == steps:
                    self._check()
                    now = watch.read()[0]
                    speed = (self.step - before) / (now - since)
                    since, before = now, self.step
                    latest = self._write_row(log, speed, log.spent(watch.read()))
                if config.evaluation is not None and self.step % config.evaluation.every == 0:
                    with watch.paused():
                        self._evaluate(log, log.spent(watch.read()))
                if self.step % config.checkpoint_every == 0:
                    self._save(log)
                    saved = self.step
                if on_progress is not None:
                    on_progress(self.step, latest)
            if saved != self.step:
                self._save(log)
            if self.step >= steps:
                log.show_last()
        return self.step >= steps

    def update(self, *, recorded: bool) -> Metrics:
        """The next update, recorded if possible; returns its metrics, which the one after it may change."""
        config = self.run.config
        rate = pace(self.step, config.steps, config.learning_rate_decay)
        if recorded and self.recorded is not None:
            return self.recorded.update(self.step, rate)
        with part("sampler"):
            batch = self.sampler.batch(self.step)
        return self.learner.update(batch, self.step, self.streams, rate)

    def _write_row(self, log: TrainingLog, speed: float, spent: tuple[float, float]) -> dict[str, float]:
        """Log the means over the current interval; returns those of the first seed."""
        config, seeds = self.run.config, self.run.record.seeds
        means = self.meter.means()
        if self.step % config.log_every == 0:
            self.meter.reset()
        transitions = speed * config.transitions_per_update
        encoder, representation = self.learner.agent.context_encoder, {}
        try:
            if isinstance(encoder, ContextEncoder):
                representation = representation_metrics(encoder, self.probe)
        except torch.linalg.LinAlgError as error:  # type: ignore[attr-defined]
            what = f"features of the context encoder are not finite after update {self.step}"
            raise self._diverged(what) from error
        for name, values in representation.items():
            means[f"context_encoder/{name}"] = values.tolist()
        rows = [{name: value[row] for name, value in means.items()} for row in range(len(seeds))]
        for seed, row in zip(seeds, rows, strict=True):
            row.update(dict(zip(THROUGHPUT, (speed, transitions, *spent), strict=True)))
            log.write(self.step, seed, row)
        return rows[0]

    def _evaluate(self, log: TrainingLog, spent: tuple[float, float]) -> None:
        """Evaluate the current agent, log the result, and keep the agent if it is the best so far."""
        assert self.evaluator is not None  # checked in the constructor
        self._check()
        agent, seeds = self.learner.agent, self.run.record.seeds
        with freed_memory(kept=False):
            results = self.evaluator(agent.eval())
        agent.train()
        for seed, metrics in zip(seeds, results, strict=True):
            row = {f"{EVALUATION_PREFIX}{name}": value for name, value in metrics.items()}
            log.write(self.step, seed, {**row, **dict(zip(SPENT, spent, strict=True))})
        criterion = next(iter(results[0]), None)
        if criterion is None:
            return
        score = sum(metrics[criterion] for metrics in results) / len(results)
        if self.best is None or score > self.best.get(criterion, -float("inf")):
            self.best = {criterion: score}
            save_best(self.run, self.step, agent=agent.state_dict(), score=self.best)

    def _check(self) -> None:
        """Check that metrics, weights and moments are finite."""
        seeds = self.run.record.seeds
        try:
            self.meter.check(seeds)
            check_finite(self._weights(), seeds, self.step)
        except DivergedError as error:
            raise self._diverged(str(error)) from error

    def _weights(self) -> dict[str, Tensor]:
        return self.learner.agent.state_dict() | {
            f"objectives.{name}": value for name, value in self.learner.objectives.state_dict().items()
        }

    def _diverged(self, what: str) -> DivergedError:
        kept = list_checkpoints(self.run.checkpoints)
        where = f"the last good checkpoint is {kept[-1]}" if kept else "there is no checkpoint yet"
        return DivergedError(f"{self.run.path}: {what}; {where}; try a lower learning rate in a new run")

    def _save(self, log: TrainingLog) -> Path:
        self._check()
        optimisers = optimiser_state(self.learner)
        try:
            check_finite(optimisers, self.run.record.seeds, self.step)
        except DivergedError as error:
            raise self._diverged(str(error)) from error
        objectives = self.learner.objectives.state_dict()
        learner = {
            **{f"objectives.{name}": value for name, value in objectives.items()},
            **optimisers,
            **{f"meter.{name}": value for name, value in self.meter.state().items()},
        }
        log.sync()  # before the checkpoint, whose rows must be on the disk
        agent = self.learner.agent.state_dict()
        return save_checkpoint(self.run, self.step, agent=agent, learner=learner)

    def _load(self, checkpoint: Path) -> None:
        self.step = read_record(checkpoint, self.run).step
        if not (checkpoint / LEARNER).exists():
            raise NotFoundError(
                f"{checkpoint / LEARNER}: is not there, as in every published agent, which cannot be trained "
                f"further: train a new run; or in a run of your own {REMEDY}"
            )
        device = self.sampler.device
        load_module(self.learner.agent, read_tensors(checkpoint / AGENT, device), checkpoint / AGENT)
        groups: dict[str, dict[str, Tensor]] = {"objectives": {}, "optimiser": {}, "meter": {}}
        for key, value in read_tensors(checkpoint / LEARNER, device).items():
            group, _, name = key.partition(".")
            if group not in groups:
                raise InvalidInputError(f"{checkpoint / LEARNER}: {key} is no state of a learner: {REMEDY}")
            groups[group][name] = value
        load_module(self.learner.objectives, groups["objectives"], checkpoint / LEARNER)
        load_optimiser_state(self.learner, groups["optimiser"])
        self.meter.load(groups["meter"])


def optimiser_state(learner: Learner) -> dict[str, Tensor]:
    """The optimisers' tensors by ``optimiser.<parameter>:<field>``. Counts may be parts of one tensor, which
    a file of tensors cannot say: they are copied.
    """
    names = {parameter: name for name, parameter in learner.named_parameters()}
    return {
        f"optimiser.{names[parameter]}:{field}": value.clone() if value.dim() == 0 else value
        for optimiser in learner.optimisers.values()
        for group in optimiser.param_groups
        for parameter in group["params"]
        for state in [optimiser.state.get(parameter, {})]
        for field, value in state.items()
    }


def load_optimiser_state(learner: Learner, state: dict[str, Tensor]) -> None:
    """Restore the result of :func:`optimiser_state` (without its prefix)."""
    fields: dict[str, dict[str, Any]] = {}
    for key, value in state.items():
        name, _, field = key.rpartition(":")
        fields.setdefault(name, {})[field] = value
    names = {parameter: name for name, parameter in learner.named_parameters()}
    for optimiser in learner.optimisers.values():
        for group in optimiser.param_groups:
            for parameter in group["params"]:
                if names[parameter] in fields:
                    optimiser.state[parameter] = fields[names[parameter]]
