"""Evaluation protocols, per split and task (method: few-shot = offline context; zero-shot = no context)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import torch

from clwm_data.errors import ClwmError
from clwm_data.families import Split, TaskFamily
from clwm_data.ranges import format_indices
from clwm_train.agent import Agent
from clwm_train.data import DataTask
from clwm_train.evaluate.context import infer_from_data
from clwm_train.evaluate.rollout import Belief, EpisodeBelief, Episodes, FixedBelief, roll_out
from clwm_train.streams import Purpose, derive

Protocol = Literal["few-shot", "zero-shot"]
PROTOCOLS: tuple[Protocol, ...] = ("few-shot", "zero-shot")

#: ``{protocol: {split: {"return_mean": x, "tasks": {id: x}, ...}}}``
Results = dict[str, dict[str, dict[str, Any]]]


def evaluate(
    agent: Agent,
    family: TaskFamily,
    tasks: Mapping[int, DataTask],
    *,
    protocols: Sequence[Protocol] = PROTOCOLS,
    splits: Sequence[Split] = ("train", "id", "ood"),
    episodes: int = 3,
    context_size: int = 600,
    seed: int = 0,
    threads: int = 1,
    warn: Callable[[str], None] = lambda message: None,
) -> list[Results]:
    """Returns of the adapted policy on the family's tasks.

    few-shot: z from ``context_size`` transitions of the task's own dataset. zero-shot: z = 0 at the
    start of every episode, inferred anew after every step from that episode alone. All tasks of a
    protocol run at once.

    Args:
        agent: of S seeds.
        family: of tasks.
        tasks: the data of those tasks that have some; few-shot leaves the others out.
        protocols: which to run.
        splits: which to report; one that the family does not have is absent from the results.
        episodes: per task.
        context_size: transitions of a few-shot context.
        seed: decides contexts and episodes; the same seed gives the same results.
        threads: that the simulator may use.
        warn: told which tasks have no context.

    Returns:
        for each seed of the agent ``{protocol: {split: {"return_mean", "success" (where the family has
        it), "episodes" (per task), "tasks": {id: return}, "task_success": {id: success}}}}``.

    Raises:
        ClwmError: few-shot is asked for and no task has data.
    """
    wanted = [index for split in splits for index in family.split(split)]
    results: list[Results] = [{} for _ in agent.seeds]
    for protocol in protocols:
        chosen = wanted if protocol == "zero-shot" else _with_context(family, wanted, tasks, warn)
        if not chosen:
            continue
        lanes = [index for index in chosen for _ in range(episodes)]
        if protocol == "few-shot":
            z = torch.stack([infer_from_data(agent, tasks[index], context_size, seed) for index in chosen], 1)
            belief: Belief = FixedBelief(z.repeat_interleave(episodes, 1))
        else:
            belief = EpisodeBelief(agent, len(lanes))
        numbers = [number for _ in chosen for number in range(episodes)]
        seeds = [
            derive(seed, Purpose.EVALUATION, index, 1 + number)
            for index, number in zip(lanes, numbers, strict=True)
        ]
        done = roll_out(agent, family, lanes, belief, seeds, threads=threads)
        for row, result in enumerate(results):
            result[protocol] = _summary(family, chosen, splits, done, row, episodes)
    return results


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
    done: Episodes,
    row: int,
    episodes: int,
) -> dict[str, dict[str, Any]]:
    """One seed's results by split."""
    returns = done.returns[row].reshape(len(chosen), episodes).mean(1)
    success = None if done.success is None else done.success[row].reshape(len(chosen), episodes).mean(1)
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
        summary[split] = entry
    return summary
