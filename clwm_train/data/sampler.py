"""Meta-batches: a few train tasks, with some windows and some context transitions of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from clwm_data.errors import InvalidInputError
from clwm_train.config import BatchConfig
from clwm_train.data.task_data import TaskData, gather
from clwm_train.kernels.streams import Purpose, RandomStreams, Streams


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


class TaskBatchSampler:
    """Draws meta-batches; batch ``i`` depends on the seed and ``i`` alone, so a resumed run sees the
    same batches.

    Tasks are drawn with replacement. A task's windows are uniform over all positions at which a window fits
    into an episode; an episode shorter than the window gives one padded window. Context transitions are
    uniform over all of the task's transitions, with replacement.

    Args:
        data: arrays of all tasks.
        config: T, B, H and K; the published ones by default.
        seeds: the S seeds; each draws its own batches.
        next_observation: context transitions include s'.
        padded: windows begin anywhere in an episode and may extend beyond its end; else only where they fit.
        device: device of the batches and of the random numbers; by default that of ``data``.
    """

    def __init__(
        self,
        data: TaskData,
        config: BatchConfig | None = None,
        seeds: Sequence[int] = (0,),
        *,
        next_observation: bool = False,
        padded: bool = False,
        device: torch.device | None = None,
    ) -> None:
        self.data = data
        self.config = config = config or BatchConfig()
        self.next_observation = next_observation
        positions = data.positions("train")
        if not positions:
            raise InvalidInputError("there is no train task to draw batches from")
        self.tasks = tuple(data.tasks[position] for position in positions)
        self._positions = torch.tensor(positions, device=data.device)
        self._task_count = torch.tensor(len(positions), device=data.device)
        self.device = device or data.device
        self._streams = RandomStreams(seeds, self.device)
        length, horizon = data.episode_length, config.horizon
        places = length if padded else (length - horizon + 1).clamp_(min=1)
        #: [E + 1] number of window positions before each episode.
        self._first_place = torch.cat([places.new_zeros(1), places.cumsum(0)])
        self._task_place = self._first_place[data.first_episode]
        #: [E] a window's first transition minus its position.
        self._shift = data.episode_start - self._first_place[:-1]
        shortest, longest = data.lengths
        #: Window positions of every episode, if that is one number: a search then is a division.
        self._places = 0 if shortest != longest else longest if padded else max(1, longest - horizon + 1)
        self._windows = self._padded_windows
        if not padded and shortest >= horizon:
            self._windows = self._whole_windows
            fields = data.observation, data.action, data.reward, data.terminated
            self._runs = [
                _runs(field, size) for field, size in zip(fields, (horizon + 1, *3 * [horizon]), strict=True)
            ]
            self._ones = torch.ones(1, device=data.device)
        self._steps = torch.arange(horizon + 1, device=data.device)

    def batch(self, step: int, streams: Streams | None = None) -> TaskBatch:
        """The batch of update ``step``, drawn from the sampler's own streams unless others are given."""
        config, draws = self.config, (streams or self._streams).at(Purpose.BATCH, step)
        counts = 1, config.windows, config.context
        uniform = draws.uniform(config.tasks * sum(counts), dtype=torch.float64).to(self.data.device)
        tasks, windows, context = (
            part.view(len(part), config.tasks, -1)
            for part in uniform.split_with_sizes([config.tasks * count for count in counts], 1)
        )
        task = _integers(tasks.squeeze(-1), self._task_count)
        position = self._positions[task]
        parts = {
            "task": task,
            "context": self.data.context(
                _between(context, self.data.first_transition, position),
                next_observation=self.next_observation,
            ),
            **self._windows(_between(windows, self._task_place, position)),
        }
        return TaskBatch(**{name: part.to(self.device) for name, part in parts.items()})

    def _whole_windows(self, place: Tensor) -> dict[str, Tensor]:
        """The windows at positions [S, T, B]; see :class:`TaskBatch`. None extends beyond its episode."""
        episode = self._episode(place)
        transition = place + self._shift[episode]
        observation, action, reward, terminated = (
            gather(runs, transition + episode if index == 0 else transition)
            for index, runs in enumerate(self._runs)
        )
        steps = (*place.shape, self.config.horizon)
        return {
            "observation": observation.view(*place.shape, steps[-1] + 1, -1),
            "action": action.view(*steps, -1),
            "reward": reward,
            "terminated": terminated.to(torch.float32),
            "mask": self._ones.expand(steps),
        }

    def _padded_windows(self, place: Tensor) -> dict[str, Tensor]:
        """The windows at positions [S, T, B]; see :class:`TaskBatch`."""
        data, episode = self.data, self._episode(place)
        start = place + self._shift[episode]
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

    def _episode(self, place: Tensor) -> Tensor:
        if self._places:
            return torch.div(place, self._places, rounding_mode="floor")
        return torch.searchsorted(self._first_place, place, right=True) - 1


def _runs(array: Tensor, size: int) -> Tensor:
    """All runs of ``size`` rows of array [R, ...], without a copy: [R - size + 1, size * ...]."""
    row = array[:1].numel()
    return array.as_strided((len(array) - size + 1, size * row), (row, 1))


def _between(uniform: Tensor, first: Tensor, position: Tensor) -> Tensor:
    """Integers from [first[position], first[position + 1]): [S, T, N] of positions [S, T]."""
    low = first[position].unsqueeze(-1)
    return low + _integers(uniform, first[position + 1].unsqueeze(-1) - low)


def _integers(uniform: Tensor, bound: Tensor) -> Tensor:
    """Integers on [0, bound), bounds up to 2^53, from numbers on [0, 1)."""
    # u < 1 but u * bound may round up to bound.
    return torch.minimum((uniform * bound).long(), bound - 1)
