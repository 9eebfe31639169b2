"""Summaries of a task that are kept in its metadata."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from clwm_data.store.arrays import TaskArrays
from clwm_data.store.format import ReturnStatistics, TaskStatistics


def return_statistics(returns: NDArray[np.float64]) -> ReturnStatistics:
    """Mean, standard deviation (population), minimum and maximum of returns [E > 0]."""
    return ReturnStatistics(
        episodes=len(returns),
        mean=float(returns.mean()),
        std=float(returns.std()),
        min=float(returns.min()),
        max=float(returns.max()),
    )


def task_statistics(arrays: TaskArrays, behaviours: int) -> TaskStatistics:
    """Statistics of a task that was collected by a mixture of ``behaviours`` entries."""
    by_behaviour = [arrays.episode_return[arrays.episode_behaviour == entry] for entry in range(behaviours)]
    # Column sums in float64; the mean of float32 rows would depend on the summation order in the last digits.
    observation: NDArray[Any] = arrays.observation.astype(np.float64)
    return TaskStatistics(
        returns=return_statistics(arrays.episode_return),
        returns_by_behaviour=[
            return_statistics(returns) if len(returns) else None for returns in by_behaviour
        ],
        success_rate=None if arrays.success is None else float(episode_success(arrays).mean()),
        observation_mean=observation.mean(axis=0).tolist(),
        observation_std=observation.std(axis=0).tolist(),
    )


def episode_success(arrays: TaskArrays) -> NDArray[np.bool_]:
    """[E] whether an episode has at least one successful step.

    Raises:
        ValueError: the task has no ``success`` array.
    """
    if arrays.success is None:
        raise ValueError("this task has no success array")
    return np.logical_or.reduceat(arrays.success, arrays.episode_start)
