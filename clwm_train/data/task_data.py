"""A store's arrays in the form for training: one contiguous array per column, on the device.

The tasks' arrays are concatenated, laid out as in :mod:`clwm_data.store.arrays`: the observation before
transition ``row`` of episode ``e`` is ``observation[row + e]``, where both indices run through all tasks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from clwm_data.errors import DamagedDataError, InvalidInputError
from clwm_data.families import SPLITS, Split
from clwm_data.opening import open_store
from clwm_data.pages.numbers import plural
from clwm_data.pages.shapes import shapes
from clwm_data.store import Store
from clwm_data.store.arrays import TaskArrays
from clwm_train.config import DataConfig
from clwm_train.data.normaliser import Normaliser

#: Arrays of a task that are kept.
COLUMNS = ("observation", "action", "reward", "terminated", "episode_start", "episode_length")


class DataTask(Protocol):
    """A task of a store."""

    @property
    def index(self) -> int:
        """Index in the family."""

    @property
    def split(self) -> str:
        """``train``, ``id`` or ``ood``."""

    @property
    def behaviours(self) -> Sequence[str]:
        """Names of the behaviours of its mixture; ``episode_behaviour`` is an index into them."""

    def load(self) -> TaskArrays:
        """All its episodes."""


@dataclass(frozen=True)
class TaskData:
    """All tasks' transitions (N in E episodes), scaled by ``normaliser``.

    Attributes:
        tasks: family indices of the tasks, ascending; an index into this list is a task's *position*.
        splits: split of each task.
        observation: [N + E, obs] float32.
        action: [N, act] float32.
        reward: [N] float32.
        terminated: [N] bool.
        episode_start: [E] int64, first transition of each episode.
        episode_length: [E] int64.
        first_transition: [tasks + 1] int64, where each task's transitions begin; the last entry is N.
        first_episode: [tasks + 1] int64, likewise its episodes.
        lengths: least and greatest number of transitions of an episode.
        normaliser: the scaling that was applied.
    """

    tasks: tuple[int, ...]
    splits: tuple[Split, ...]
    observation: Tensor
    action: Tensor
    reward: Tensor
    terminated: Tensor
    episode_start: Tensor
    episode_length: Tensor
    first_transition: Tensor
    first_episode: Tensor
    lengths: tuple[int, int]
    normaliser: Normaliser

    def __repr__(self) -> str:
        return f"<TaskData: {plural(len(self.tasks), 'task')}; {shapes(self)}>"

    @property
    def device(self) -> torch.device:
        """Where the arrays are."""
        return self.observation.device

    def positions(self, split: Split) -> list[int]:
        """Positions of the tasks of a split, ascending."""
        return [position for position, other in enumerate(self.splits) if other == split]

    def observation_row(self, transition: Tensor) -> Tensor:
        """Row of the observation before each transition [...]; the one after it is the next row."""
        shortest, longest = self.lengths
        if shortest == longest:  # a search costs more than the transitions themselves
            return transition + torch.div(transition, longest, rounding_mode="floor")
        return transition + torch.searchsorted(self.episode_start, transition, right=True) - 1

    def context(self, transition: Tensor, *, next_observation: bool) -> Tensor:
        """Transitions [...] as the context encoder takes them: [s, a, r] or [s, a, r, s'], [..., x]."""
        row = self.observation_row(transition)
        parts = [
            gather(self.observation, row),
            gather(self.action, transition),
            gather(self.reward, transition).unsqueeze(-1),
        ]
        if next_observation:
            parts.append(gather(self.observation, row + 1))
        return torch.cat(parts, -1)


def gather(array: Tensor, index: Tensor) -> Tensor:
    """Rows of ``array`` [R, ...] at ``index`` [...], in one operation."""
    if array.device.type == "cpu" and array.is_contiguous():  # NumPy reads short rows twice as quickly
        return torch.from_numpy(array.numpy().take(index.numpy(), 0))
    return array.index_select(0, index.reshape(-1)).view(*index.shape, *array.shape[1:])


def load_task_data(
    tasks: Mapping[int, DataTask] | Store | str | Path,
    config: DataConfig | None = None,
    *,
    name: str = "the store",
    device: torch.device | str = "cpu",
) -> TaskData:
    """Read all tasks of a store.

    Args:
        tasks: a store, also anything that ``open_store`` takes, or some of its tasks by their index in the
            family.
        config: scaling, fitted to the train tasks; none unless given.
        name: the store's, for messages.
        device: where to put the arrays.

    Raises:
        InvalidInputError: no train task.
        DamagedDataError: a task without transitions, or whose data is damaged.
    """
    if isinstance(tasks, str | Path):
        tasks = open_store(tasks)
    if isinstance(tasks, Store):
        name, tasks = str(tasks.path), tasks.tasks
    config = config or DataConfig()
    indices, splits = train_splits(tasks, name)
    loaded = [tasks[index].load() for index in indices]
    for index, arrays in zip(indices, loaded, strict=True):
        if arrays.transitions == 0:
            raise DamagedDataError(
                f"{name}: task {index} holds no transitions: collect it again or delete it"
            )
    train = (arrays for arrays, split in zip(loaded, splits, strict=True) if split == "train")
    normaliser = Normaliser.fit(train, loaded[0].observation.shape[1], config).to(device)
    first_transition = task_offsets([arrays.transitions for arrays in loaded])
    first_episode = task_offsets([arrays.episodes for arrays in loaded])
    columns = {field: [getattr(arrays, field) for arrays in loaded] for field in COLUMNS}
    lengths = extremes(columns["episode_length"])
    columns["episode_start"] = [
        start + first for start, first in zip(columns["episode_start"], first_transition[:-1], strict=True)
    ]
    del loaded, arrays

    def joined(column: str) -> Tensor:
        # Each column's parts are released before the next column is joined: no array is held twice for long.
        return torch.from_numpy(np.concatenate(columns.pop(column))).to(device)

    return TaskData(
        tasks=indices,
        splits=splits,
        observation=normaliser.observation_(joined("observation")),
        action=joined("action"),
        reward=joined("reward").mul_(normaliser.reward_scale),
        terminated=joined("terminated"),
        episode_start=joined("episode_start"),
        episode_length=joined("episode_length"),
        first_transition=torch.from_numpy(first_transition).to(device),
        first_episode=torch.from_numpy(first_episode).to(device),
        lengths=lengths,
        normaliser=normaliser,
    )


def train_splits(tasks: Mapping[int, DataTask], name: str) -> tuple[tuple[int, ...], tuple[Split, ...]]:
    """Indices of the tasks, ascending, and their splits.

    Raises:
        InvalidInputError: none of them is a train task.
    """
    indices = tuple(sorted(tasks))
    splits = tuple(next(s for s in SPLITS if s == tasks[index].split) for index in indices)
    if "train" not in splits:
        raise InvalidInputError(f"{name}: holds no train task: collect tasks of the split train")
    return indices, splits


def extremes(lengths: Sequence[NDArray[np.int64]]) -> tuple[int, int]:
    """The least and the greatest of all entries."""
    return min(int(part.min()) for part in lengths), max(int(part.max()) for part in lengths)


def task_offsets(counts: Sequence[int]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Offset of each of several concatenated parts, and the end of the last one."""
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
