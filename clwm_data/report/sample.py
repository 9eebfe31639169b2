"""The data that a report shows, gathered from a store in one pass, with one task in memory at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from clwm_data.families.base import SPLITS, Split
from clwm_data.store.arrays import TaskArrays
from clwm_data.store.format import TaskRecord
from clwm_data.store.reader import Store

ROWS_PER_TASK = 1_500
TASKS_PER_SPLIT = 3
EPISODES_PER_TASK = 8


@dataclass(frozen=True)
class Trajectories:
    """Some episodes of a task: the behaviour and the rewards [n] of each."""

    record: TaskRecord
    rewards: list[tuple[int, NDArray[np.float32]]]


@dataclass
class Sample:
    """Data gathered from a store.

    Attributes:
        returns: task -> behaviour -> returns of its episodes.
        observations: split -> rows [n, obs], spread over its tasks and their episodes.
        actions: split -> rows [n, act].
        trajectories: episodes of up to three tasks of each split.
    """

    returns: dict[int, dict[int, NDArray[np.float64]]] = field(default_factory=dict)
    observations: dict[Split, NDArray[np.float32]] = field(default_factory=dict)
    actions: dict[Split, NDArray[np.float32]] = field(default_factory=dict)
    trajectories: list[Trajectories] = field(default_factory=list)


def gather(store: Store, on_progress: Callable[[int], object] | None = None) -> Sample:
    """Gather the data from a store; ``on_progress`` is called with the index of each task that was read.

    Raises:
        DamagedDataError: the store is damaged.
    """
    sample = Sample()
    shown = {index for split in SPLITS for index in spread(store.split(split), TASKS_PER_SPLIT)}
    observations: dict[Split, list[NDArray[np.float32]]] = {}
    actions: dict[Split, list[NDArray[np.float32]]] = {}
    for index, task in store.tasks.items():
        arrays = task.load()
        sample.returns[index] = {
            behaviour: arrays.episode_return[arrays.episode_behaviour == behaviour]
            for behaviour in range(len(task.record.behaviours))
        }
        rows = spread(range(arrays.transitions), ROWS_PER_TASK)
        observations.setdefault(task.split, []).append(arrays.observation[arrays.observation_row()[rows]])
        actions.setdefault(task.split, []).append(arrays.action[rows])
        if index in shown:
            sample.trajectories.append(Trajectories(task.record, _trajectories(arrays)))
        if on_progress is not None:
            on_progress(index)
    sample.observations = {split: np.concatenate(parts) for split, parts in observations.items()}
    sample.actions = {split: np.concatenate(parts) for split, parts in actions.items()}
    sample.trajectories.sort(key=lambda t: (SPLITS.index(t.record.split), t.record.index))
    return sample


def spread(items: range | tuple[int, ...], most: int) -> list[int]:
    """At most ``most`` of the items, evenly spread from the first to the last."""
    if not items:
        return []
    positions = np.unique(np.linspace(0, len(items) - 1, min(most, len(items))).round().astype(int))
    return [items[position] for position in positions]


def _trajectories(arrays: TaskArrays) -> list[tuple[int, NDArray[np.float32]]]:
    episodes = [arrays.episode(number) for number in spread(range(arrays.episodes), EPISODES_PER_TASK)]
    return [(episode.behaviour, episode.reward) for episode in episodes]


def projection(
    rows: dict[Split, NDArray[np.float32]], what: str
) -> tuple[dict[Split, NDArray[np.float64]], tuple[str, str]]:
    """Rows [n, 2] in a plane: two columns as they are, more of them by principal component analysis.

    There are at least two columns. Before that they are standardised over all splits. The labels of the axes
    tell the share of variance.
    """
    pooled = np.concatenate(list(rows.values())).astype(np.float64)
    width = pooled.shape[1]
    if width == 2:
        return {split: part.astype(np.float64) for split, part in rows.items()}, (f"{what} 0", f"{what} 1")
    mean, scale = pooled.mean(axis=0), pooled.std(axis=0)
    scale[scale == 0.0] = 1.0
    # A second row that says nothing, so that a single one has two components, too.
    standardised = np.vstack([(pooled - mean) / scale, np.zeros((int(len(pooled) == 1), width))])
    _, strength, axes = np.linalg.svd(standardised, full_matrices=False)
    # Signs of components are arbitrary: the largest entry of each is made positive.
    axes = axes[:2] * np.sign(axes[np.arange(2), np.abs(axes[:2]).argmax(axis=1)])[:, None]
    shares = 100.0 * strength[:2] ** 2 / max(float(np.sum(strength**2)), 1e-300)
    labels = (f"component 1 ({shares[0]:.0f} %)", f"component 2 ({shares[1]:.0f} %)")
    return {split: (part - mean) / scale @ axes.T for split, part in rows.items()}, labels
