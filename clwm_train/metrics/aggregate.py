"""Aggregates over tasks and seeds, with stratified bootstrap intervals (Agarwal et al. 2021, 2108.13264).

Scores are [runs, tasks]: one row per seed, one column per task. A bootstrap replicate draws as many seeds as
there are, with replacement: the tasks are fixed, and the uncertainty is that of the seeds. Seeds are drawn
independently for every task, as published, where every task has trainings of its own. The tasks of one
dataset do not: the same agents play all of them, so their scores rise and fall together. :class:`Grouped`
scores say which tasks share their agents, and the seeds are drawn once for all of these (a cluster
bootstrap); drawn task by task, the intervals would be much too narrow.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clwm_data.errors import InvalidInputError
from clwm_data.pages.numbers import plural

Floats = NDArray[np.float64]
#: Scores [..., runs, tasks] -> [...].
Statistic = Callable[[Floats], Floats]


@dataclass(frozen=True)
class Grouped:
    """Scores of agents, each of which played several tasks.

    Attributes:
        scores: [runs, tasks].
        groups: for each task, the number of its group, from 0; the tasks of a group share their agents.
    """

    scores: ArrayLike
    groups: Sequence[int]


Scores = ArrayLike | Grouped

#: Maximum number of resampled scores in memory, unless another is given; results do not depend on it.
CHUNK = 4_000_000


@dataclass(frozen=True)
class Interval:
    """A statistic and its percentile bootstrap interval.

    Attributes:
        point: the statistic of the scores themselves.
        low: lower end; ``None`` for a single seed, which says nothing about other seeds.
        high: upper end.
    """

    point: float
    low: float | None = None
    high: float | None = None


def mean(scores: Floats) -> Floats:
    """Mean over tasks of the mean over runs: [..., runs, tasks] -> [...]."""
    result: Floats = scores.mean((-2, -1))
    return result


def median(scores: Floats) -> Floats:
    """Median over tasks of the mean over runs: [..., runs, tasks] -> [...]."""
    result: Floats = np.median(scores.mean(-2), -1)
    return result


def iqm(scores: Floats) -> Floats:
    """Interquartile mean: the mean of the middle half of all scores, [..., runs, tasks] -> [...].

    A quarter of the scores, rounded down, is removed at each end.
    """
    flat = np.sort(scores.reshape(*scores.shape[:-2], -1), -1)
    cut = flat.shape[-1] // 4
    result: Floats = flat[..., cut : flat.shape[-1] - cut].mean(-1)
    return result


def optimality_gap(scores: Floats, target: float = 1.0) -> Floats:
    """Mean shortfall from ``target``, where scores above it count as 0: [..., runs, tasks] -> [...]."""
    result: Floats = target - np.minimum(scores, target).mean((-2, -1))
    return result


AGGREGATES: dict[str, Statistic] = {
    "median": median,
    "iqm": iqm,
    "mean": mean,
    "optimality_gap": optimality_gap,
}


def aggregate(
    scores: Scores,
    statistic: Statistic = iqm,
    *,
    replicates: int = 10_000,
    confidence: float = 0.95,
    seed: int = 0,
    chunk: int = CHUNK,
) -> Interval:
    """A statistic of scores [runs, tasks] with its stratified bootstrap interval.

    Args:
        scores: the scores; of agents that played several tasks each, as :class:`Grouped`.
        statistic: the statistic.
        replicates: bootstrap replicates.
        confidence: confidence level of the interval.
        seed: seed of the bootstrap.
        chunk: maximum number of resampled scores in memory; the result does not depend on it.

    Raises:
        InvalidInputError: no scores, the wrong shape, or a score that is not finite.
    """
    array, groups = _checked(scores)
    point = float(statistic(array))
    if len(array) == 1:
        return Interval(point)
    rng = np.random.default_rng(seed)
    values = np.concatenate(
        [statistic(_resample(array, groups, count, rng)) for count in _chunks(replicates, array.size, chunk)]
    )
    low, high = _percentiles(values, confidence)
    return Interval(point, float(low), float(high))


def probability_of_improvement(
    scores: Scores,
    over: Scores,
    *,
    replicates: int = 2_000,
    confidence: float = 0.95,
    seed: int = 0,
    chunk: int = CHUNK,
) -> Interval:
    """Probability that a run of X beats one of Y on a task, averaged over tasks; a tie counts half.

    For each task this is the Mann-Whitney U statistic divided by the number of pairs.

    Args:
        scores: scores of X [runs, tasks], as for :func:`aggregate`.
        over: scores of Y [other runs, tasks], with the same tasks as columns.
        replicates: bootstrap replicates; X and Y are resampled independently.
        confidence: confidence level of the interval.
        seed: seed of the bootstrap.
        chunk: maximum number of resampled scores in memory; the result does not depend on it.

    Raises:
        InvalidInputError: as :func:`aggregate`, or the number of tasks differs.
    """
    (x, x_groups), (y, y_groups) = _checked(scores), _checked(over)
    if x.shape[1] != y.shape[1]:
        raise InvalidInputError(
            f"scores of {x.shape[1]} and of {plural(y.shape[1], 'task')} cannot be compared: give the same"
        )
    point = float(_wins(x, y))
    if len(x) == 1 or len(y) == 1:
        return Interval(point)
    rng, other_rng = np.random.default_rng(seed).spawn(2)  # so that chunks do not change what is drawn
    values = np.concatenate(
        [
            _wins(_resample(x, x_groups, count, rng), _resample(y, y_groups, count, other_rng))
            for count in _chunks(replicates, x.size * len(y), chunk)
        ]
    )
    low, high = _percentiles(values, confidence)
    return Interval(point, float(low), float(high))


@dataclass(frozen=True)
class Profile:
    """A performance profile: the share of runs and tasks with a score above each threshold.

    Attributes:
        thresholds: [n].
        share: [n] in [0, 1], falling.
        low: [n] lower end of the pointwise intervals, or ``None`` with a single seed.
        high: [n] upper end.
    """

    thresholds: Floats
    share: Floats
    low: Floats | None = None
    high: Floats | None = None


def performance_profile(
    scores: Scores,
    thresholds: ArrayLike,
    *,
    replicates: int = 2_000,
    confidence: float = 0.95,
    seed: int = 0,
    chunk: int = CHUNK,
) -> Profile:
    """The run-score distribution of scores [runs, tasks] at thresholds [n].

    Raises:
        InvalidInputError: as :func:`aggregate`.
    """
    (array, groups), at = _checked(scores), np.asarray(thresholds, np.float64)
    share = _above(array, at)
    if len(array) == 1:
        return Profile(at, share)
    rng = np.random.default_rng(seed)
    values = np.concatenate(
        [_above(_resample(array, groups, count, rng), at) for count in _chunks(replicates, array.size, chunk)]
    )
    low, high = _percentiles(values, confidence)
    return Profile(at, share, low, high)


def _checked(scores: Scores) -> tuple[Floats, NDArray[np.int64]]:
    """The scores [runs, tasks], and the group of each task; of its own unless they are :class:`Grouped`."""
    try:
        array = np.asarray(scores.scores if isinstance(scores, Grouped) else scores, np.float64)
    except (ValueError, TypeError) as error:
        raise InvalidInputError(
            "scores: expected runs x tasks of numbers, the same tasks for every run"
        ) from error
    if array.ndim != 2 or array.size == 0:
        raise InvalidInputError(
            f"scores have shape {array.shape}: expected runs x tasks, at least one of each"
        )
    if not np.isfinite(array).all():
        run, task = np.argwhere(~np.isfinite(array))[0].tolist()
        raise InvalidInputError(
            f"the score of run {run} on task {task} is {array[run, task]}: correct it or leave it out"
        )
    tasks = array.shape[1]
    groups = np.asarray(scores.groups if isinstance(scores, Grouped) else range(tasks), np.int64)
    if groups.shape != (tasks,):
        raise InvalidInputError(f"there are groups of {groups.size} tasks for scores of {tasks}")
    if groups.min() < 0:
        raise InvalidInputError(f"groups are numbered from 0, not {groups.min()}")
    return array, groups


def _resample(scores: Floats, groups: NDArray[np.int64], count: int, rng: np.random.Generator) -> Floats:
    """Bootstrap replicates [count, runs, tasks]."""
    runs, tasks = scores.shape
    drawn = rng.integers(runs, size=(count, runs, int(groups.max()) + 1))
    return scores[drawn[..., groups], np.arange(tasks)]


def _wins(x: Floats, y: Floats) -> Floats:
    """[..., n, tasks], [..., m, tasks] -> [...]."""
    difference = x[..., :, None, :] - y[..., None, :, :]
    result: Floats = (0.5 + 0.5 * np.sign(difference)).mean((-3, -2, -1))
    return result


def _above(scores: Floats, thresholds: Floats) -> Floats:
    """[..., runs, tasks], [n] -> [..., n]."""
    flat = np.sort(scores.reshape(-1, scores.shape[-2] * scores.shape[-1]), -1)
    below = np.stack([np.searchsorted(row, thresholds, side="right") for row in flat])
    share: Floats = 1.0 - below / flat.shape[-1]
    return share.reshape(*scores.shape[:-2], -1)


def _chunks(replicates: int, size: int, chunk: int) -> list[int]:
    at_once = max(1, min(replicates, chunk // size))
    whole, rest = divmod(replicates, at_once)
    return [at_once] * whole + [rest] * (rest > 0)


def _percentiles(values: Floats, confidence: float) -> tuple[Floats, Floats]:
    tail = 50.0 * (1.0 - confidence)
    low, high = np.percentile(values, [tail, 100.0 - tail], axis=0)
    return low, high
