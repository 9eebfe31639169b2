"""Meta-batches: a few train tasks, with some windows and some context transitions of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from clwm_data.errors import InvalidInputError
from clwm_data.pages.shapes import shapes
from clwm_train.config import BatchConfig
from clwm_train.data.task_data import TaskData, gather
from clwm_train.kernels.streams import Purpose, RandomStreams, Streams
from clwm_train.seeds import seed_numbers

#: A NumPy array on CPU, where an operation on few numbers takes a third of torch's time; elsewhere a tensor.
Numbers: TypeAlias = Any


@dataclass(frozen=True)
class TaskBatch:
    """A meta-batch of S seeds, T tasks, B windows of H steps, K context transitions.

    Attributes:
        task: [S, T] int64, position of each task among the sampler's train tasks.
        context: [S, T, K, x], transitions as the context encoder takes them.
        observation: [S, T, B, H + 1, obs]; where ``mask`` is 0, the episode's last observation is repeated.
        action: [S, T, B, H, act].
        reward: [S, T, B, H].
        terminated: [S, T, B, H], 1 where the transition ended in a terminal state.
        mask: [S, T, B, H], 1 for transitions inside the episode, 0 for padding after its end.
    """

    task: Tensor
    context: Tensor
    observation: Tensor
    action: Tensor
    reward: Tensor
    terminated: Tensor
    mask: Tensor

    def __repr__(self) -> str:
        return f"<TaskBatch: {shapes(self)}>"


class TaskBatchSampler:
    """Draws meta-batches; batch ``i`` depends on the seed and ``i`` alone, so a resumed run sees the
    same batches.

    Tasks are drawn with replacement. A task's windows are uniform over all positions at which a window fits
    into an episode; an episode shorter than the window gives one padded window. With ``config.padded: true``
    they are uniform over all transitions, and extend beyond the ends of episodes. Context transitions are
    uniform over all of the task's transitions, with replacement.

    Args:
        data: arrays of all tasks.
        config: T, B, H, K and where windows begin; as published by default.
        seeds: the S seeds, or one; each draws its own batches.
        next_observation: context transitions include s'.
        device: device of the batches and of the random numbers; by default that of ``data``.
    """

    def __init__(
        self,
        data: TaskData,
        config: BatchConfig | None = None,
        seeds: int | Sequence[int] = 0,
        *,
        next_observation: bool = False,
        device: torch.device | None = None,
    ) -> None:
        self.data = data
        self.config = config = config or BatchConfig()
        self.next_observation = next_observation
        positions = data.positions("train")
        if not positions:
            raise InvalidInputError("there is no train task to draw batches from")
        self.tasks = tuple(data.tasks[position] for position in positions)
        self.device = device or data.device
        self._streams = RandomStreams(seed_numbers(seeds), self.device)
        length, horizon, padded = data.episode_length, config.horizon, config.padded is True
        places = length if padded else (length - horizon + 1).clamp_(min=1)
        first_place = torch.cat([places.new_zeros(1), places.cumsum(0)])
        #: [E + 1] number of window positions before each episode.
        self._first_place = _numbers(first_place)
        #: [E] a window's first transition minus its position.
        self._shift = _numbers(data.episode_start - first_place[:-1])
        #: [train tasks, 2] each task's first window position and first transition, and how many it has.
        first = torch.stack([first_place[data.first_episode], data.first_transition], -1)
        position = torch.tensor(positions, device=data.device)
        self._first = _numbers(first[position])
        self._count = _numbers((first[position + 1] - first[position]).double())
        shortest, longest = data.lengths
        #: Window positions of every episode, if that is one number: a search then is a division.
        self._places = 0 if shortest != longest else longest if padded else max(1, longest - horizon + 1)
        self._windows = self._padded_windows
        if not padded and shortest >= horizon:
            self._windows = self._whole_windows
            self._runs = {
                "observation": _runs(data.observation, horizon + 1),
                "action": _runs(data.action, horizon),
                "reward": _runs(data.reward, horizon),
            }
            # Only an episode's last transition can end in a terminal state. Where none does, none is read.
            if data.terminated[data.episode_start + data.episode_length - 1].any():
                self._runs["terminated"] = _runs(data.terminated, horizon)
            self._zero, self._one = (make(1, device=data.device) for make in (torch.zeros, torch.ones))
        self._steps = torch.arange(horizon + 1, device=data.device)

    def batch(self, step: int, streams: Streams | None = None) -> TaskBatch:
        """The batch of update ``step``, drawn from the sampler's own streams unless others are given."""
        config, draws = self.config, (streams or self._streams).at(Purpose.BATCH, step)
        tasks, windows = config.tasks, config.tasks * config.windows
        size = tasks + windows + tasks * config.context
        uniform = draws.uniform(size, dtype=torch.float64)
        uniform = _numbers(uniform if self.device == self.data.device else uniform.to(self.data.device))
        task = _integers(uniform[:, :tasks], len(self.tasks))
        first, count = self._first[task], self._count[task]
        place, transition = (
            first[..., kind, None] + _integers(part.reshape(*task.shape, -1), count[..., kind, None])
            for kind, part in enumerate((uniform[:, tasks : tasks + windows], uniform[:, tasks + windows :]))
        )
        parts = {
            "task": _tensor(task),
            "context": self.data.context(_tensor(transition), next_observation=self.next_observation),
            **self._windows(place),
        }
        if self.device != self.data.device:
            parts = {name: part.to(self.device) for name, part in parts.items()}
        return TaskBatch(**parts)

    def _whole_windows(self, place: Numbers) -> dict[str, Tensor]:
        """The windows at positions [S, T, B]; see :class:`TaskBatch`. None extends beyond its episode."""
        episode = self._episode(place)
        transition = place + self._shift[episode]
        rows, steps = _tensor(transition), (*place.shape, self.config.horizon)
        read = {name: gather(runs, rows) for name, runs in self._runs.items() if name != "observation"}
        observation = gather(self._runs["observation"], _tensor(transition + episode))
        return {
            "observation": observation.view(*place.shape, steps[-1] + 1, -1),
            "action": read["action"].view(*steps, -1),
            "reward": read["reward"],
            "terminated": read["terminated"].float() if "terminated" in read else self._zero.expand(steps),
            "mask": self._one.expand(steps),
        }

    def _padded_windows(self, place: Numbers) -> dict[str, Tensor]:
        """The windows at positions [S, T, B]; see :class:`TaskBatch`."""
        data, number = self.data, self._episode(place)
        start, episode = _tensor(place + self._shift[number]), _tensor(number)
        left = (data.episode_length[episode] - start + data.episode_start[episode]).unsqueeze(-1)
        ahead = torch.minimum(self._steps, left)
        transition = start.unsqueeze(-1) + torch.minimum(self._steps[:-1], left - 1)
        observation = (start + episode).unsqueeze(-1) + ahead
        mask = self._steps[:-1] < left
        return {
            "observation": gather(data.observation, observation),
            "action": gather(data.action, transition),
            "reward": gather(data.reward, transition),
            "terminated": gather(data.terminated, transition).to(torch.float32),
            "mask": mask.to(torch.float32),
        }

    def _episode(self, place: Numbers) -> Numbers:
        if self._places:
            return place // self._places
        search: Any = np.searchsorted if isinstance(place, np.ndarray) else torch.searchsorted
        return search(self._first_place, place, side="right") - 1


def _numbers(tensor: Tensor) -> Numbers:
    return tensor.numpy() if tensor.device.type == "cpu" else tensor


def _tensor(numbers: Numbers) -> Tensor:
    return torch.from_numpy(numbers) if isinstance(numbers, np.ndarray) else numbers


def _integers(uniform: Numbers, bound: Numbers) -> Numbers:
    """Integers on [0, bound), bounds up to 2^53, from numbers on [0, 1)."""
    # A number below 1 times the bound is rounded to a number below the bound, see the test.
    scaled = uniform * bound
    return scaled.astype(np.int64) if isinstance(scaled, np.ndarray) else scaled.long()


def _runs(array: Tensor, size: int) -> Tensor:
    """All runs of ``size`` rows of array [R, ...], without a copy: [R - size + 1, size * ...]."""
    row = array[:1].numel()
    return array.as_strided((len(array) - size + 1, size * row), (row, 1))
