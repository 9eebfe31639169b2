"""Evaluation protocols, per split and task."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from statistics import fmean
from typing import Any

import numpy as np

from clwm_data.errors import InvalidInputError
from clwm_data.families import SPLITS, Split, TaskFamily
from clwm_data.families.provided import ProvidedFamily
from clwm_data.progress import ProgressCallback
from clwm_data.ranges import task_list
from clwm_data.references import normalised_return
from clwm_train.config import Protocol
from clwm_train.data.task_data import DataTask
from clwm_train.evaluation.evaluator import Evaluator, group_tasks
from clwm_train.evaluation.rollout import Episodes
from clwm_train.model.agent import Agent
from clwm_train.settings import DEFAULT_EVALUATION, DEFAULT_EXECUTION, EvaluationSettings, Execution

#: Protocols whose contexts the agent gathers itself.
GATHERED = ("online-context", "non-prior")

#: Called with the episodes of some tasks under a protocol, as soon as they are over.
EpisodesCallback = Callable[[Protocol, Episodes], object]

#: ``{protocol: {split: {"return_mean": x, "tasks": {id: x}, ...}}}``
Results = dict[str, dict[str, dict[str, Any]]]


@dataclass(frozen=True)
class Callbacks:
    """Functions that an evaluation calls as it proceeds.

    Attributes:
        warn: called with a message about tasks without a context.
        on_progress: called with the number of steps done (of many episodes at once) and their total.
        on_episodes: called with the episodes of some tasks as soon as they are over.
    """

    warn: Callable[[str], object] = lambda message: None
    on_progress: ProgressCallback = lambda done, total: None
    on_episodes: EpisodesCallback = lambda protocol, episodes: None


SILENT = Callbacks()


def evaluate(
    agent: Agent,
    family: TaskFamily,
    tasks: Mapping[int, DataTask],
    settings: EvaluationSettings = DEFAULT_EVALUATION,
    *,
    execution: Execution = DEFAULT_EXECUTION,
    callbacks: Callbacks = SILENT,
) -> list[Results]:
    """Returns of the adapted agent on the family's tasks, many episodes at once.

    - few-shot: z from ``context_size`` transitions of the task's own dataset, of one behaviour's episodes if
      ``context_behaviour`` names it.
    - online-context: z from as many transitions that the agent itself gathers, acting on the prior.
    - non-prior: the same, but the first 100 actions are random, and then the agent acts on the z inferred
      from all transitions so far, updated after every step.
    - zero-shot: the prior at the start of every episode, then z inferred from that episode alone, updated
      after every step.

    An agent that is given its task's parameters acts on these in all protocols.

    The contexts of the first three are gathered once per task and do not change during its episodes. A split
    that the family does not have is absent from the results.

    Args:
        agent: agent of S seeds.
        family: the task family; a :class:`~clwm_data.families.provided.ProvidedFamily` acts in environments
            that a function makes, as ``settings.env`` names one.
        tasks: the data of those tasks that have any; few-shot leaves the others out.
        settings: settings of the evaluation; the same settings give the same results.
        execution: threads of the simulator (one by default), and how many episodes run at a time.
        callbacks: functions that are called as it proceeds.

    Returns:
        for each seed of the agent ``{protocol: {split: {"return_mean", "success" (where the family has
        it), "normalised_mean" (where the family has reference returns), "episodes" (per task), "tasks":
        {id: return}, "task_success": {id: success}, "task_normalised": {id: normalised return}, "groups" (by
        benchmark, where the family joins several): {name: {"tasks", "return_mean", "success"}}}}}``.

    Raises:
        ClwmError: see :func:`prepare`.
    """
    evaluator, evaluated = prepare(
        agent, family, tasks, settings, threads=execution.threads or 1, warn=callbacks.warn
    )
    family = evaluator.family
    lanes = len(agent.seeds) * settings.episodes
    plan = [
        (protocol, chosen, group_tasks(chosen, lanes, execution.lanes))
        for protocol, chosen in evaluated.items()
    ]
    total = sum(
        len(groups) * (family.horizon + settings.context_size * (protocol in GATHERED))
        for protocol, _, groups in plan
    )
    results: list[Results] = [{} for _ in agent.seeds]
    steps_before = 0
    for protocol, chosen, groups in plan:
        done = []
        for group in groups:
            evaluator.on_step = _counting(steps_before, total, callbacks.on_progress)
            done.append(evaluator.episodes(protocol, group))
            callbacks.on_episodes(protocol, done[-1])
            steps_before += family.horizon + settings.context_size * (protocol in GATHERED)
            callbacks.on_progress(steps_before, total)  # episodes may have ended early
        for row, result in enumerate(results):
            result[protocol] = _summary(family, chosen, settings.splits, done, row, settings.episodes)
    if family.has_references:
        add_normalised(results, family.reference_returns)
    return results


def prepare(
    agent: Agent,
    family: TaskFamily,
    tasks: Mapping[int, DataTask],
    settings: EvaluationSettings,
    *,
    threads: int = 1,
    warn: Callable[[str], object] = SILENT.warn,
) -> tuple[Evaluator, dict[Protocol, list[int]]]:
    """What comes before an evaluation acts; whatever makes it impossible is found here.

    Args:
        agent: the agent; it need not have learned anything.
        family: as for :func:`evaluate`.
        tasks: as for :func:`evaluate`.
        settings: settings of the evaluation.
        threads: maximum number of threads of the simulator.
        warn: called with a message about tasks without a context.

    Returns:
        the evaluator, and the tasks of each protocol.

    Raises:
        InvalidInputError: the family has no task in these splits; no task has data for few-shot; too few
            train tasks have data for the mean prior or for inference by the model; a world model is needed,
            but the agent has none; or the family's reference returns define no scale.
        ClwmError: there is nothing to act in.
    """
    if settings.env is not None and not isinstance(family, ProvidedFamily):
        family = ProvidedFamily(family, settings.env)
    family.require_gymnasium()
    evaluated = tasks_in(family, settings.splits)
    for index in evaluated if family.has_references else ():
        family.normalised_return(index, 0.0)  # what defines no scale is refused before anything is acted
    evaluator = Evaluator(agent, family, tasks, settings, threads)
    by_protocol = {
        protocol: _with_data(family, evaluated, tasks, settings.context_behaviour, warn)
        if protocol == "few-shot"
        else evaluated
        for protocol in settings.protocols
    }
    return evaluator, by_protocol


def tasks_in(family: TaskFamily, splits: Sequence[Split]) -> list[int]:
    """The tasks of some splits.

    Raises:
        InvalidInputError: there are none.
    """
    found = [index for split in splits for index in family.split(split)]
    if not found:
        known = ", ".join(split for split in SPLITS if family.split(split))
        raise InvalidInputError(f"{family.name}: has no {' or '.join(splits)} tasks: its splits are {known}")
    return found


def _counting(before: int, total: int, on_progress: ProgressCallback) -> Callable[[], object]:
    """Counts steps from ``before`` on."""
    steps = count(before + 1)
    return lambda: on_progress(next(steps), total)


def _with_data(
    family: TaskFamily,
    evaluated: Sequence[int],
    tasks: Mapping[int, DataTask],
    behaviour: str | None,
    warn: Callable[[str], object],
) -> list[int]:
    """The tasks that have data, of one behaviour if it is given."""
    known = {name: None for index in evaluated if index in tasks for name in tasks[index].behaviours}
    if behaviour is not None and behaviour not in known and known:
        raise InvalidInputError(
            f"few-shot: no task has episodes of the behaviour {behaviour}: the data have {', '.join(known)}"
        )
    chosen = [
        index
        for index in evaluated
        if index in tasks and (behaviour is None or behaviour in tasks[index].behaviours)
    ]
    missing = sorted(set(evaluated) - set(chosen))
    if missing and not chosen:
        raise InvalidInputError(
            f"few-shot: none of the tasks has data, so there is no context: collect tasks of {family.name}, "
            f"or evaluate zero-shot"
        )
    if missing:
        what = "data" if behaviour is None else f"data of the behaviour {behaviour}"
        warn(f"few-shot: no context for {task_list(missing)}: the store holds no {what} of them; left out")
    return chosen


def _summary(
    family: TaskFamily,
    chosen: Sequence[int],
    splits: Sequence[Split],
    done: Sequence[Episodes],
    row: int,
    episodes: int,
) -> dict[str, dict[str, Any]]:
    """One seed's results by split."""
    returns = np.concatenate([part.returns[row] for part in done]).reshape(-1, episodes).mean(1)
    solved = [part.success[row] for part in done if part.success is not None]
    success = np.concatenate(solved).reshape(-1, episodes).mean(1) if solved else None
    summary: dict[str, dict[str, Any]] = {}
    for split in splits:
        positions = [position for position, index in enumerate(chosen) if family.task(index).split == split]
        if not positions:
            continue
        entry: dict[str, Any] = {"return_mean": float(returns[positions].mean()), "episodes": episodes}
        entry["tasks"] = {chosen[position]: float(returns[position]) for position in positions}
        if success is not None:
            entry["success"] = float(success[positions].mean())
            entry["task_success"] = {chosen[position]: float(success[position]) for position in positions}
        if groups := _by_group(family, entry):
            entry["groups"] = groups
        summary[split] = entry
    return summary


def _by_group(family: TaskFamily, entry: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The means over the tasks of each benchmark, in a family that joins several; else nothing."""
    members: dict[str, list[int]] = {}
    for index in entry["tasks"]:
        if (name := family.group(index)) is not None:
            members.setdefault(name, []).append(index)
    means = {"return_mean": "tasks", "success": "task_success"}
    return {
        name: {
            "tasks": len(indices),
            **{
                mean: fmean(entry[values][index] for index in indices)
                for mean, values in means.items()
                if values in entry
            },
        }
        for name, indices in members.items()
    }


def add_normalised(results: Sequence[Results], references: Callable[[int], tuple[float, float]]) -> None:
    """Add normalised returns to results.

    Args:
        results: of :func:`evaluate`; changed in place.
        references: task -> mean returns of random actions and of the expert.
    """
    for entry in (entry for result in results for splits in result.values() for entry in splits.values()):
        scaled = {
            index: float(normalised_return(value, *references(int(index))))
            for index, value in entry["tasks"].items()
        }
        entry["normalised_mean"] = fmean(scaled.values())
        entry["task_normalised"] = scaled
