"""One run of an experiment: trained, evaluated, analysed. Its state is read from its folder alone."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from clwm_data.disk import describe
from clwm_data.errors import ClwmError, ConflictError, NotFoundError, UnavailableError
from clwm_data.mistaken import has_lost_its_mark, not_there
from clwm_data.opening import open_store
from clwm_data.pages.numbers import plural
from clwm_data.paths import SUFFIX, fitting_name
from clwm_data.store import Store
from clwm_data.store.digest import json_sha256
from clwm_data.yaml_values import shown
from clwm_train.analysis.results import find_analysis, save_analysis
from clwm_train.analysis.run import analyse, is_whole
from clwm_train.config import TrainConfig
from clwm_train.evaluation.results import Evaluation, find_evaluation, read_evaluations, save_evaluation
from clwm_train.evaluation.run import check_evaluation, evaluate_run
from clwm_train.evaluation.tracked import track_evaluation
from clwm_train.evaluation.while_training import training_evaluator
from clwm_train.execution import pick_device
from clwm_train.methods.resolve import resolve
from clwm_train.report.scores import gather_scores, known_family
from clwm_train.runs.checkpoint import list_checkpoints, read_record
from clwm_train.runs.differences import changed_keys
from clwm_train.runs.lock import run_lock
from clwm_train.runs.run import RECORD, Run, describe_run, open_run, resolve_for, write_run
from clwm_train.runs.same_data import check_same_data
from clwm_train.settings import DEFAULT_EXECUTION, AnalysisSettings, EvaluationSettings, Execution
from clwm_train.sweep.budget import read_timing, take_timing
from clwm_train.tracking.opening import DEFAULT, tracker_names
from clwm_train.training.train import train_run
from clwm_train.training.trainer import UpdateCallback

Stage = Literal["waiting", "training", "evaluating", "analysing", "done"]

#: Number of differing keys of a configuration that are told.
TOLD = 3
#: Seconds to wait for a lock held by a process that has yet to notice that its sweep was killed.
ORPHANS_SECONDS = 30.0


@dataclass(frozen=True)
class Job:
    """A run to train, evaluate and analyse; plain values, which can be sent to another process or machine.

    Attributes:
        run: folder of the run.
        store: path of the data.
        label: the method's name in the experiment.
        method: bundled name of the method, or path of its file.
        preset: bundled name of the preset, or path of its file.
        overrides: overrides in the form of ``--set``.
        seeds: seeds that are trained together.
        evaluations: settings of its evaluations; the first is the one that results are of.
        analysis: settings of its analysis; ``None``: no analysis.
        execution: where and how it is trained.
        minutes: train as many updates as fit into so many minutes for each seed; ``None``: those of the
            configuration.
        track: names of trackers; ``None``: those that the run began with.
    """

    run: Path
    store: Path
    label: str
    method: str
    preset: str
    overrides: tuple[str, ...]
    seeds: tuple[int, ...]
    evaluations: tuple[EvaluationSettings, ...]
    analysis: AnalysisSettings | None
    execution: Execution = DEFAULT_EXECUTION
    minutes: float | None = None
    track: tuple[str, ...] | None = None

    @property
    def timing(self) -> Path:
        """The file of the timing that decides how many updates fit into ``minutes``; beside the runs, since
        all runs of a method on a store have the same number of updates.
        """
        name = f"{self.store.name.removesuffix(SUFFIX)}-{self.label}"
        return self.run.with_name(f"{fitting_name(name, json_sha256(name))}.timing.yaml")


@dataclass(frozen=True)
class JobState:
    """The state of a job.

    Attributes:
        stage: the stage that is next or in progress.
        step: updates done.
        steps: total number of updates; 0: a timing will decide it.
    """

    stage: Stage
    step: int
    steps: int


def job_state(job: Job) -> JobState:
    """The state of a job.

    Raises:
        ConflictError: the run's folder holds something other than this job's run, or the store other data
            than it began with.
        NotFoundError: the checkpoint that the experiment needs is gone, or the run's record.
        ClwmError: the run is damaged.
    """
    if has_lost_its_mark(job.run):
        raise NotFoundError(not_there(job.run, "run"))
    store = open_store(job.store)
    config = _configuration(job, store)
    begun = (job.run / RECORD).is_file()
    if job.minutes is not None:
        timing = read_timing(job.timing)
        if timing is None and begun:
            raise NotFoundError(
                f"{job.timing}: is gone, which says how many updates {job.run} has: restore it, or remove "
                "the run"
            )
        if timing is None:
            return JobState("waiting", 0, 0)
        config = config.model_copy(update={"steps": timing.updates(job.minutes)})
    if not begun:
        return JobState("waiting", 0, config.steps)
    run = open_run(job.run)
    _check_same(job, run, config)
    check_same_data(run, store)
    checkpoints = list_checkpoints(run.checkpoints)
    step = read_record(checkpoints[-1]).step if checkpoints else 0
    if step < config.steps:
        return JobState("training", step, config.steps)
    if _next_evaluation(job, run, store) is not None:
        return JobState("evaluating", step, config.steps)
    if not _is_analysed(job, run, store):
        return JobState("analysing", step, config.steps)
    return JobState("done", step, config.steps)


def _check_same(job: Job, run: Run, config: TrainConfig) -> None:
    """Check that a run is the one that the experiment asks for, with this configuration."""
    differing = [*changed_keys(run.config.model_dump(), config.model_dump())]
    if run.record.seeds != job.seeds:
        differing.append(("seeds", run.record.seeds, job.seeds))
    if differing:
        told = [f"{key} {shown(old)}, not {shown(new)}" for key, old, new in differing[:TOLD]]
        if len(differing) > TOLD:
            told.append(f"{len(differing) - TOLD} more")
        raise ConflictError(
            f"{job.run}: was begun with another configuration than the experiment file now says "
            f"({'; '.join(told)}): restore the file, remove the folder, or rename the method"
        )


def run_job(
    job: Job,
    *,
    stop: Callable[[], bool] = lambda: False,
    on_progress: UpdateCallback | None = None,
) -> bool:
    """Do the remaining work of a job.

    Args:
        job: the job.
        stop: called after every update and between stages; returns whether to stop.
        on_progress: called after every update.

    Returns:
        whether the job is done.

    Raises:
        ClwmError: another process works on it, or it cannot be done.
    """
    with run_lock(job.run, patience=ORPHANS_SECONDS):
        store = open_store(job.store)
        while not stop():
            state = job_state(job)
            match state.stage:
                case "waiting":
                    _create(job, store)
                case "training":
                    run = open_run(job.run)
                    train_run(
                        run,
                        store,
                        execution=job.execution,
                        stop=stop,
                        on_progress=on_progress,
                        evaluator=training_evaluator(run, store),
                        trackers=job.track,
                    )
                case "evaluating":
                    _evaluate(job, open_run(job.run), store)
                case "analysing":
                    _analyse(job, open_run(job.run), store)
                case "done":
                    return True
    return False


def check_job(job: Job, *, here: bool = True) -> None:
    """Find, of a job that has not begun, what would end it only after others or after its training: mistakes
    of the experiment, and evaluations that are not possible on its store or with its method.

    Args:
        job: the job.
        here: it is done on this machine; another may have the packages that are missing here.

    Raises:
        ClwmError: it cannot be done.
    """
    if (job.run / RECORD).is_file() or has_lost_its_mark(job.run):
        return
    try:
        resolve(job.method, job.preset, job.overrides)  # which takes no packages
        with nullcontext() if here else suppress(NotFoundError, UnavailableError):
            store = open_store(job.store)
            run = _described(job, store, _configuration(job, store))
            training_evaluator(run, store)
            for settings in job.evaluations:
                check_evaluation(run, store, settings)
    except ClwmError as error:
        raise type(error)(f"{job.run.name}: {error}") from error


def _configuration(job: Job, origin: Store | Run) -> TrainConfig:
    """The configuration of a job; a timing may still decide the number of updates."""
    return resolve_for(origin.task_family, resolve(job.method, job.preset, job.overrides))


def _described(job: Job, store: Store, config: TrainConfig) -> Run:
    options = {"method": job.method, "preset": job.preset, "label": job.label}
    return describe_run(job.run, store, config, seeds=job.seeds, **options)


def _create(job: Job, store: Store) -> Run:
    config = _configuration(job, store)
    if job.minutes is not None:
        timing = take_timing(
            job.timing,
            store,
            config,
            method=job.method,
            preset=job.preset,
            seeds=job.seeds,
            minutes=job.minutes,
            execution=job.execution,
        )
        config = config.model_copy(update={"steps": timing.updates(job.minutes)})
    return write_run(_described(job, store, config))


def _evaluate(job: Job, run: Run, store: Store) -> None:
    # The threads are for training; a simulator would start a process for each.
    execution = job.execution.model_copy(update={"threads": None})
    settings = _next_evaluation(job, run, store)
    if settings is not None:
        checkpoint = final_checkpoint(run)
        evaluation = evaluate_run(run, store, settings, checkpoint=checkpoint, execution=execution)
        save_evaluation(run, evaluation)
        if settings == job.evaluations[0] and tracker_names(run.path) != DEFAULT:
            track_evaluation(run, evaluation, None, warnings.warn)


def _analyse(job: Job, run: Run, store: Store) -> None:
    if job.analysis is not None:
        device = pick_device(job.execution.device)
        analysis = analyse(run, store, job.analysis, checkpoint=final_checkpoint(run), device=device)
        save_analysis(run, analysis)


def _next_evaluation(job: Job, run: Run, store: Store) -> EvaluationSettings | None:
    """The settings of the first evaluation that is not there yet; ``None`` if all are."""
    name, content = final_checkpoint(run).name, store.record.content_sha256
    for settings in job.evaluations:
        if find_evaluation(run, name, settings, content) is None:
            return settings
    return None


def _is_analysed(job: Job, run: Run, store: Store) -> bool:
    if job.analysis is None:
        return True
    name, content = final_checkpoint(run).name, store.record.content_sha256
    analysis = find_analysis(run, name, job.analysis, content)
    return analysis is not None and is_whole(analysis, run, store)


def finished(jobs: Iterable[Job], warn: Callable[[str], object]) -> list[tuple[Run, Evaluation]]:
    """The experiment's evaluations, of those jobs that have been evaluated.

    Args:
        jobs: the jobs.
        warn: called with a message about each run that is damaged, or not the one that the experiment now
            asks for, on its data; it is left out.
    """
    done = []
    for job in jobs:
        if (job.run / RECORD).is_file():
            try:
                if (shown := _shown(job, open_run(job.run))) is not None:
                    gather_scores([shown])  # reads all that its row is made of
                    done.append(shown)
            except ClwmError as error:
                warn(f"left out of the table: {error}")
            except OSError as error:
                warn(f"left out of the table: {describe(error, job.run)}")
    return done


def _shown(job: Job, run: Run) -> tuple[Run, Evaluation] | None:
    """The evaluation that results are of; ``None`` if there is none yet.

    Raises:
        ConflictError: the experiment now asks for another run of that name, or the store has other data.
    """
    store = None
    with suppress(ClwmError):  # it may be on another machine
        store = open_store(job.store)
    if store is not None:
        check_same_data(run, store)
    if known_family(run) is not None:
        timing = read_timing(job.timing) if job.minutes is not None else None
        steps = job.minutes and (run.config.steps if timing is None else timing.updates(job.minutes))
        config = _configuration(job, run)
        _check_same(job, run, config.model_copy(update={"steps": steps}) if steps else config)
    asked = (run.config.steps, job.evaluations[0], run.record.store_sha256)
    for evaluation in read_evaluations(run):
        if (evaluation.step, evaluation.settings, evaluation.store_sha256) == asked:
            return run, evaluation
    return None


def final_checkpoint(run: Run) -> Path:
    """The checkpoint of a run at the last update of its configuration.

    Raises:
        NotFoundError: the run was trained further, and that checkpoint is gone.
    """
    for checkpoint in list_checkpoints(run.checkpoints):
        if read_record(checkpoint).step == run.config.steps:
            return checkpoint
    raise NotFoundError(
        f"{run.path}: was trained beyond the experiment's {plural(run.config.steps, 'update')}, and the "
        "checkpoint at that update is gone: remove the folder to train it again"
    )
