"""Summaries of a task that are kept in its metadata."""

from __future__ import annotations

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
    return TaskStatistics(
        returns=return_statistics(arrays.episode_return),
        returns_by_behaviour=[
            return_statistics(returns) if len(returns) else None for returns in by_behaviour
        ],
        success_rate=None if arrays.success is None else float(episode_success(arrays).mean()),
    )


def episode_success(arrays: TaskArrays) -> NDArray[np.bool_]:
    """[E] whether an episode has at least one successful step.

    Raises:
        ValueError: the task has no ``success`` array.
    """
    if arrays.success is None:
        raise ValueError("this task has no success array")
    return np.logical_or.reduceat(arrays.success, arrays.episode_start)
