"""Meta-batches: a few train tasks, with some windows and some context transitions of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from clwm_data.errors import InvalidInputError
from clwm_train.config import BatchConfig
from clwm_train.data.task_data import TaskData, gather
from clwm_train.kernels.streams import Noise, Purpose, RandomStreams, Streams


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
        places = data.episode_length
        if not padded:
            places = (places - config.horizon + 1).clamp_(min=1)
        #: [E + 1] number of window positions before each episode.
        self._first_place = torch.cat([places.new_zeros(1), places.cumsum(0)])
        self._task_place = self._first_place[data.first_episode]
        self._steps = torch.arange(config.horizon + 1, device=data.device)

    def batch(self, step: int, streams: Streams | None = None) -> TaskBatch:
        """The batch of update ``step``, drawn from the sampler's own streams unless others are given."""
        config, draws = self.config, (streams or self._streams).at(Purpose.BATCH, step)
        task = _integers(draws, (config.tasks,), self._task_count)
        position = self._positions[task]
        window = self._draw(draws, self._task_place, position, config.windows)
        context = self._draw(draws, self.data.first_transition, position, config.context)
        parts = {
            "task": task,
            "context": self.data.context(context, next_observation=self.next_observation),
            **self._windows(window),
        }
        return TaskBatch(**{name: part.to(self.device) for name, part in parts.items()})

    def _draw(self, draws: Noise, first: Tensor, position: Tensor, count: int) -> Tensor:
        """``count`` integers per task from [first[position], first[position + 1]): [S, T, count]."""
        low = first[position].unsqueeze(-1)
        high = first[position + 1].unsqueeze(-1)
        return low + _integers(draws, (*position.shape[1:], count), high - low)

    def _windows(self, place: Tensor) -> dict[str, Tensor]:
        """The windows at positions [S, T, B]; see :class:`TaskBatch`."""
        data = self.data
        episode = torch.searchsorted(self._first_place, place, right=True) - 1
        offset = place - self._first_place[episode]
        start = data.episode_start[episode] + offset
        left = (data.episode_length[episode] - offset).unsqueeze(-1)
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


def _integers(draws: Noise, shape: tuple[int, ...], bound: Tensor) -> Tensor:
    """Integers uniform on [0, bound), bounds up to 2^53: [S, *shape]."""
    uniform = draws.uniform(*shape, dtype=torch.float64).to(bound.device)
    # u < 1 but u * bound may round up to bound.
    return torch.minimum((uniform * bound).long(), bound - 1)
