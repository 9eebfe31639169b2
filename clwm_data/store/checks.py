"""Checks of one task's values: digests, episode index, ranges, family, statistics."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from clwm_data.errors import ClwmError
from clwm_data.extras import MissingExtraError
from clwm_data.families import TaskFamily
from clwm_data.manifest import BehaviourEntry
from clwm_data.pages.numbers import plural
from clwm_data.store.arrays import TaskArrays
from clwm_data.store.digest import array_sha256
from clwm_data.store.soundness import Finding, index_findings, value_findings, value_range
from clwm_data.store.statistics import task_statistics
from clwm_data.store.stored_task import StoredTask


def check_arrays(
    where: str, task: StoredTask, arrays: TaskArrays, family: TaskFamily | None
) -> Iterator[Finding]:
    """Everything that can be wrong with a task whose files are intact.

    Args:
        where: how to name the task in findings.
        task: its metadata.
        arrays: its data.
        family: the family that the store names, or ``None`` if it is not known here.
    """
    ranges = {}
    for name, array in arrays.named().items():
        if array_sha256(array) != task.record.arrays.get(name):
            yield Finding(f"{where}: {name}", "values differ from their digest")
        ranges[name] = value_range(array)  # now, while the processor has it in its cache
    yield from value_findings(where, arrays, task.record.behaviours, ranges)
    if family is not None:
        yield from _check_family(where, task, arrays, family)
    if not any(index_findings(where, arrays)):  # otherwise the checks below would be meaningless
        yield from _check_episodes(where, arrays)
        yield from _check_behaviours(where, arrays, task.record.behaviours)
        yield from _check_statistics(where, task, arrays)


def _check_episodes(where: str, arrays: TaskArrays) -> Iterator[Finding]:
    start, length = arrays.episode_start, arrays.episode_length
    last = np.zeros(arrays.transitions, np.bool_)
    last[start + length - 1] = True
    early = np.flatnonzero((arrays.terminated | arrays.truncated) & ~last)
    for episode in np.unique(np.searchsorted(start, early, "right") - 1):
        yield Finding(f"{where}: episode {episode}", "ends (terminated or truncated) before its last step")
    if (arrays.terminated & arrays.truncated).any():
        yield Finding(f"{where}: terminated, truncated", "are both set at the same step")
    reward = arrays.reward.astype(np.float64)
    returns = np.add.reduceat(reward, start)
    error = np.abs(returns - arrays.episode_return)
    if not (error <= 1e-9 + 1e-9 * np.abs(returns)).all():  # sums of magnitudes are larger; seldom needed
        tolerance = 1e-9 + 1e-9 * np.add.reduceat(np.abs(reward), start)
        for episode in np.flatnonzero(~(error <= tolerance)):
            yield Finding(f"{where}: episode {episode}", "its return is not the sum of its rewards")
    if arrays.episode_seed is not None and len(np.unique(arrays.episode_seed)) != arrays.episodes:
        yield Finding(f"{where}: episode_seed", "two episodes have the same seed")


def _check_behaviours(where: str, arrays: TaskArrays, mixture: Sequence[BehaviourEntry]) -> Iterator[Finding]:
    for number, entry in enumerate(mixture):
        lengths = arrays.episode_length[arrays.episode_behaviour == number]
        if entry.transitions is None and len(lengths) != entry.episodes:
            made, expected = plural(len(lengths), "episode"), f"{entry.episodes}"
        elif entry.transitions is not None and not (lengths[:-1].sum() < entry.transitions <= lengths.sum()):
            made = plural(int(lengths.sum()), "transition")
            expected = f"{entry.transitions}, reached by the last episode"
        else:
            continue
        yield Finding(f"{where}: behaviour {number}", f"made {made}, expected {expected}")


def _check_family(where: str, task: StoredTask, arrays: TaskArrays, family: TaskFamily) -> Iterator[Finding]:
    if arrays.discrete and not family.discrete:
        yield Finding(f"{where}: action", f"is discrete, that of {family.name} is not")
    widths = {"observation": family.observation_size, "action": family.action_size}
    for name, width in widths.items():
        columns = getattr(arrays, name).shape[1]
        if columns != width:
            yield Finding(f"{where}: {name}", f"has {plural(columns, 'column')}, {family.name} has {width}")
    # Imported data, which has no seeds, may lack what its source did not record.
    collected = arrays.episode_seed is not None
    if (arrays.success is not None) != family.has_success and (collected or not family.has_success):
        yield Finding(
            f"{where}: success", f"{family.name} {'has' if family.has_success else 'has no'} success"
        )
    if (arrays.dense_reward is not None) and not family.has_dense_reward:
        yield Finding(f"{where}: dense_reward", f"{family.name} has none")
    if (arrays.episode_length > family.horizon).any():
        yield Finding(
            f"{where}: episode_length", f"an episode exceeds the horizon of {plural(family.horizon, 'step')}"
        )
    try:
        expected = family.task(task.index)
    except ClwmError as error:
        yield Finding(where, str(error))
        return
    if task.split != expected.split:
        yield Finding(where, f"is in split {task.split}, {family.name} has it in {expected.split}")
    try:
        parameters = dict(expected.parameters)
    except MissingExtraError:
        return  # only Meta-World's package knows its parameters; the rest was checked without it
    if not _close(dict(task.parameters), parameters):
        yield Finding(where, f"parameters {dict(task.parameters)} are not {parameters}")


def _check_statistics(where: str, task: StoredTask, arrays: TaskArrays) -> Iterator[Finding]:
    record = task.record
    if record.episodes != arrays.episodes or record.transitions != arrays.transitions:
        yield Finding(where, "counts of episodes or transitions differ from the arrays")
    statistics = task_statistics(arrays, len(record.behaviours))
    if record.statistics == statistics:
        return
    expected = statistics.model_dump()
    if record.statistics.observation_mean is not None:
        observation = arrays.observation.astype(np.float64)
        expected["observation_mean"] = observation.mean(axis=0).tolist()
        expected["observation_std"] = observation.std(axis=0).tolist()
    if not _close(record.statistics.model_dump(), expected):
        yield Finding(f"{where}: statistics", "differ from the data")


def _close(left: Any, right: Any) -> bool:
    """Whether two nested values agree, numbers within rounding."""
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(_close(left[key], right[key]) for key in left)
    if isinstance(left, list | tuple) and isinstance(right, list | tuple):
        return len(left) == len(right) and all(map(_close, left, right))
    if isinstance(left, float | int) and isinstance(right, float | int):
        return left == right or abs(left - right) <= 1e-12 + 1e-9 * abs(right) < math.inf
    return bool(left == right)
