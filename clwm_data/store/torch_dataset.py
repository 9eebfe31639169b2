"""A store as a map-style dataset for PyTorch's ``DataLoader`` (needs the package torch)."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from clwm_data.errors import InvalidInputError, NotFoundError
from clwm_data.extras import require
from clwm_data.pages.numbers import plural
from clwm_data.ranges import whole
from clwm_data.store.arrays import TaskArrays, stored_action

if TYPE_CHECKING:
    import torch

    from clwm_data.store.reader import Store


class TorchDataset:
    """Windows of consecutive steps, none across an episode's end, or single transitions.

    Items come in the order of tasks, episodes and steps. The data of a task is read, and verified, in the
    process that first asks for an item of it, and stays in its memory; a pickled dataset holds none.

    Attributes:
        horizon: steps of a window; ``None``: items are transitions.
    """

    def __init__(self, store: Store, tasks: Sequence[int], horizon: int | None, *, verify: bool) -> None:
        """See :meth:`clwm_data.store.Store.torch_dataset`."""
        require("torch", "train", "a dataset for PyTorch")
        if horizon is not None and not 1 <= (whole(horizon) or 0) < 2**31:
            raise InvalidInputError(f"horizon: expected a whole number of steps from 1 on, not {horizon!r}")
        if not tasks:
            raise NotFoundError(f"{store.path}: no task of the store was chosen: there are no transitions")
        self.horizon = horizon
        self._store = store
        self._tasks = list(tasks)
        self._verify = verify
        self._loaded: dict[int, TaskArrays] = {}
        counts, longest = [], 0
        for index in self._tasks:
            lengths = np.asarray(store.tasks[index].array("episode_length", verify=verify)[...])
            longest = max(longest, int(lengths.max()))
            counts.append(int(np.maximum(lengths - (horizon or 1) + 1, 0).sum()))
        self._ends = np.cumsum(counts)  # items up to and with each task
        if not self._ends[-1]:
            raise InvalidInputError(
                f"{store.path}: no episode has {horizon} steps, the longest has {longest}: choose a shorter "
                "horizon"
            )

    def __repr__(self) -> str:
        items = "transitions" if self.horizon is None else f"windows of {plural(self.horizon, 'step')}"
        of = f"{plural(len(self._tasks), 'task')} of {self._store.path}"
        return f"<TorchDataset: {len(self):,} {items}; {of}>"

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, item: int) -> dict[str, torch.Tensor]:
        """One item as tensors.

        Returns:
            a window: ``observation`` [H + 1, obs], ``action`` [H, act] (numbers [H] of discrete ones),
            ``reward`` [H], ``terminated`` [H], ``truncated`` [H]; a transition: the same without H, with
            ``next_observation`` [obs]. Both: ``success`` where the task has it, and ``task``, ``episode`` and
            ``step`` (of the first).

        Raises:
            IndexError: there is no such item.
            ClwmError: as :meth:`clwm_data.store.StoredTask.load`.
        """
        import torch

        position = operator.index(item)
        if not -len(self) <= position < len(self):
            raise IndexError(f"item {position} of a dataset of {len(self)}")
        position %= len(self)
        task = int(np.searchsorted(self._ends, position, side="right"))
        arrays = self._arrays(self._tasks[task])
        position -= int(self._ends[task - 1]) if task else 0
        # The last item of each episode of the task tells which one the item is of.
        ends = np.cumsum(np.maximum(arrays.episode_length - (self.horizon or 1) + 1, 0))
        number = int(np.searchsorted(ends, position, side="right"))
        step = position - (int(ends[number - 1]) if number else 0)
        episode = arrays.episode(number)
        names = ["action", "reward", "terminated", "truncated"]
        if episode.success is not None:
            names.append("success")
        values: dict[str, Any]
        if self.horizon is None:
            values = {name: getattr(episode, name)[step] for name in names}
            values["observation"] = episode.observation[step]
            values["next_observation"] = episode.observation[step + 1]
        else:
            rows = slice(step, step + self.horizon)
            values = {name: getattr(episode, name)[rows] for name in names}
            values["observation"] = episode.observation[step : step + self.horizon + 1]
        values["action"] = stored_action(values["action"], episode.discrete)
        values |= {"task": np.int64(self._tasks[task]), "episode": np.int64(number), "step": np.int64(step)}
        return {name: torch.tensor(value) for name, value in values.items()}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_loaded": {}}

    def _arrays(self, task: int) -> TaskArrays:
        if task not in self._loaded:
            self._loaded[task] = self._store.tasks[task].load(verify=self._verify)
        return self._loaded[task]
