"""Evaluation protocols, per split and task."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import fmean
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from clwm_data.errors import ClwmError
from clwm_data.families import Split, TaskFamily
from clwm_data.ranges import format_indices
from clwm_data.references import has_references
from clwm_train.acting.actor import Actor, PolicyActor
from clwm_train.acting.belief import CONTEXT_SIZE, Belief, FixedBelief, Prior, RunningBelief, zero_prior
from clwm_train.acting.context import infer_from_data
from clwm_train.acting.model_belief import ModelBelief
from clwm_train.data.task_data import DataTask
from clwm_train.evaluate.gathering import gather_context
from clwm_train.evaluate.rollout import Episodes, roll_out
from clwm_train.kernels.streams import Purpose, derive
from clwm_train.model.agent import Agent

Protocol = Literal["few-shot", "online-context", "non-prior", "zero-shot"]
PROTOCOLS: tuple[Protocol, ...] = ("few-shot", "online-context", "non-prior", "zero-shot")

#: Episodes that are simulated at once, for the memory's sake: Meta-World's take 30 MB each.
MOST_LANES = 128

#: Steps with random actions that a non-prior context begins with.
RANDOM_STEPS = 100

#: ``{protocol: {split: {"return_mean": x, "tasks": {id: x}, ...}}}``
Results = dict[str, dict[str, dict[str, Any]]]


def evaluate(
    agent: Agent,
    family: TaskFamily,
    tasks: Mapping[int, DataTask],
    *,
    protocols: Sequence[Protocol] = ("few-shot", "zero-shot"),
    splits: Sequence[Split] = ("train", "id", "ood"),
    episodes: int = 3,
    context_size: int = CONTEXT_SIZE,
    seed: int = 0,
    actor: Actor | None = None,
    prior: Prior | None = None,
    candidates: Tensor | None = None,
    threads: int = 1,
    warn: Callable[[str], None] = lambda message: None,
) -> list[Results]:
    """Returns of the adapted agent on the family's tasks, many episodes at once.

    - few-shot: z from ``context_size`` transitions of the task's own dataset.
    - online-context: z from as many transitions that the agent itself gathers, acting on the prior.
    - non-prior: likewise, but the first 100 actions are random, and then the agent acts on what it has
      inferred from everything so far, anew after every step.
    - zero-shot: the prior at the start of every episode, then z inferred anew after every step from that
      episode alone.

    The contexts of the first three are gathered once per task and stay as they are in its episodes.

    Args:
        agent: of S seeds.
        family: of tasks.
        tasks: the data of those tasks that have some; few-shot leaves the others out.
        protocols: which to run.
        splits: which to report; one that the family does not have is absent from the results.
        episodes: per task.
        context_size: transitions of a context.
        seed: decides contexts and episodes; the same seed gives the same results.
        actor: who acts; the agent's policy unless given.
        prior: what a task is taken to be at first; z = 0 unless given.
        candidates: [S, P, z], see :func:`~clwm_train.acting.model_belief.candidate_tasks`: have the world
            model choose among them where the agent infers a task from its own transitions; ``None``: the
            context encoder infers.
        threads: that the simulator may use.
        warn: told which tasks have no context.

    Returns:
        for each seed of the agent ``{protocol: {split: {"return_mean", "success" (where the family has
        it), "normalised_mean" (where the family has reference returns), "episodes" (per task), "tasks":
        {id: return}, "task_success": {id: success}, "task_normalised": {id: normalised return}}}}``.

    Raises:
        ClwmError: few-shot is asked for and no task has data.
    """
    actor = PolicyActor(agent) if actor is None else actor
    prior = zero_prior(agent) if prior is None else prior

    def new_belief(lanes: int) -> Belief:
        if candidates is None:
            return RunningBelief(agent, lanes, prior)
        return ModelBelief(agent, lanes, candidates, prior)

    def gathered(group: Sequence[int], random_steps: int, keep_prior: bool) -> Tensor:
        return gather_context(
            agent,
            family,
            group,
            actor,
            new_belief(len(group)),
            steps=context_size,
            random_steps=random_steps,
            keep_prior=keep_prior,
            seed=seed,
            threads=threads,
        )

    def adapted(protocol: Protocol, group: Sequence[int]) -> Belief:
        match protocol:
            case "few-shot":
                its = [infer_from_data(agent, tasks[index], context_size, seed, prior) for index in group]
                z = torch.stack(its, 1)
            case "online-context":
                z = gathered(group, random_steps=0, keep_prior=True)
            case "non-prior":
                z = gathered(group, random_steps=RANDOM_STEPS, keep_prior=False)
            case "zero-shot":
                return new_belief(len(group) * episodes)
        return FixedBelief(z.repeat_interleave(episodes, 1))

    def run(protocol: Protocol, group: Sequence[int]) -> Episodes:
        belief = adapted(protocol, group)
        lanes = [(index, number) for index in group for number in range(episodes)]
        seeds = [derive(seed, Purpose.EVALUATION, index, 1 + number) for index, number in lanes]
        of_lanes = [index for index, _ in lanes]
        return roll_out(agent, family, of_lanes, belief, seeds, actor=actor, threads=threads)

    wanted = [index for split in splits for index in family.split(split)]
    results: list[Results] = [{} for _ in agent.seeds]
    for protocol in protocols:
        chosen = _with_context(family, wanted, tasks, warn) if protocol == "few-shot" else wanted
        if not chosen:
            continue
        done = [run(protocol, group) for group in _groups(chosen, len(agent.seeds) * episodes)]
        for row, result in enumerate(results):
            result[protocol] = _summary(family, chosen, splits, done, row, episodes)
    return results


def _groups(chosen: Sequence[int], lanes: int) -> list[list[int]]:
    """The tasks in groups of nearly equal size that take at most ``MOST_LANES``, or one task each."""
    count = -(-len(chosen) // max(1, MOST_LANES // lanes))
    return [group.tolist() for group in np.array_split(np.asarray(chosen), count)]


def _with_context(
    family: TaskFamily, wanted: Sequence[int], tasks: Mapping[int, DataTask], warn: Callable[[str], None]
) -> list[int]:
    """The tasks that have data."""
    chosen = [index for index in wanted if index in tasks]
    missing = sorted(set(wanted) - set(chosen))
    if missing and not chosen:
        raise ClwmError(
            f"few-shot: none of the tasks asked for has data, so no context: collect tasks of {family.name}, "
            f"or evaluate zero-shot"
        )
    if missing:
        listed = format_indices(missing)
        warn(f"few-shot: no context for tasks {listed}: the store holds no data of them; left out")
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
    known = has_references(family.name)
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
        if known:
            scaled = {
                index: float(family.normalised_return(index, its)) for index, its in entry["tasks"].items()
            }
            entry["normalised_mean"] = fmean(scaled.values())
            entry["task_normalised"] = scaled
        summary[split] = entry
    return summary
