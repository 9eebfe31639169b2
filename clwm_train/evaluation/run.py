"""The evaluation of a run's agent."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from clwm_data.errors import InvalidInputError
from clwm_data.families.provided import MakeEnvironment, ProvidedFamily, function_name
from clwm_data.opening import open_store
from clwm_data.references.table import References, reference_of
from clwm_data.store import Store
from clwm_train.acting.adaptive import AdaptiveAgent
from clwm_train.evaluation.protocols import SILENT, Callbacks, add_normalised, evaluate, prepare
from clwm_train.evaluation.results import Evaluation
from clwm_train.execution import pick_device
from clwm_train.out_of_memory import memory_errors
from clwm_train.runs.checkpoint import choose_checkpoint, read_record
from clwm_train.runs.finding import run_at
from clwm_train.runs.loading import load_agent
from clwm_train.runs.run import Run
from clwm_train.settings import DEFAULT_EVALUATION, DEFAULT_EXECUTION, EvaluationSettings, Execution

#: Where memory does not suffice.
REMEDY = "evaluate fewer episodes at a time (Execution.lanes), or on a larger machine"


def evaluate_run(
    run: Run | str | Path,
    store: Store | str | Path,
    settings: EvaluationSettings = DEFAULT_EVALUATION,
    *,
    env: MakeEnvironment | None = None,
    references: References | None = None,
    checkpoint: str | Path | int | None = None,
    execution: Execution = DEFAULT_EXECUTION,
    callbacks: Callbacks = SILENT,
) -> Evaluation:
    """Evaluate the agent of a run. (Eight parameters: all but the first two are optional.)

    Args:
        run: the trained run: opened, its folder, or ``user/repo`` on the Hub.
        store: store of the run's family, for the contexts: opened, or anything that ``open_store`` takes.
        settings: settings of the evaluation.
        env: makes the environment of a task from its index and its parameters (a dict), in place of the
            family; its name becomes a part of the settings.
        references: task -> mean returns of random actions and of the expert, for normalised returns; by
            default those that the store or clwm has.
        checkpoint: see :func:`~clwm_train.runs.checkpoint.choose_checkpoint`; the latest by default.
        execution: device to compute on, and threads of the simulator (one by default).
        callbacks: functions that are called as it proceeds.

    Raises:
        InvalidInputError: the store is of another family, or as for :func:`~clwm_train.evaluation.evaluate`.
        ClwmError: the run has no checkpoint, or it is damaged.
    """
    run, store = run_at(run), open_store(store)
    folder = choose_checkpoint(run.checkpoints, checkpoint)
    if store.family != run.record.family:
        raise InvalidInputError(
            f"{store.path}: holds tasks of {store.family}, {run.path} was trained on {run.record.family}: "
            f"name a store of {run.record.family}"
        )
    if env is not None:
        settings = settings.model_copy(update={"env": function_name(env)})
    family = run.task_family
    for split in settings.splits if references is not None else ():
        for task in family.split(split):
            reference_of(references or {}, task)
    digests = store.record.content_sha256, run.record.store_sha256
    if "few-shot" in settings.protocols and digests[0] != digests[1]:
        callbacks.warn(
            f"{store.path}: holds other data (sha256 {digests[0][:12]}) than {run.path} was trained on "
            f"({digests[1][:12]}): few-shot contexts come from what it holds now"
        )
    with memory_errors(run.path, REMEDY):
        agent = load_agent(run, checkpoint=folder, device=pick_device(execution.device))
        results = evaluate(
            agent,
            family if env is None else ProvidedFamily(family, env),
            store.tasks,
            settings,
            execution=execution,
            callbacks=callbacks,
        )
    if references is not None:
        add_normalised(results, partial(reference_of, references))
    return Evaluation.of(
        results,
        settings,
        step=read_record(folder).step,
        store_sha256=store.record.content_sha256,
    )


def check_evaluation(run: Run, store: Store, settings: EvaluationSettings) -> None:
    """Find before a training what would prevent an evaluation of its agent.

    Raises:
        ClwmError: as for :func:`~clwm_train.evaluation.protocols.prepare`, or nothing can be simulated here.
    """
    record = run.record
    sizes = record.observation_size, record.action_size, run.told_parameters()
    agent = AdaptiveAgent(run.config, record.seeds[:1], *sizes)
    evaluator, tasks = prepare(agent, run.task_family, store.tasks, settings)
    evaluator.family.make_simulator(tasks[settings.protocols[0]][:1]).close()
