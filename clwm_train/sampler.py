"""Meta-batches: a few train tasks, and of each some windows and some context transitions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from clwm_data.errors import ClwmError
from clwm_train.config import BatchConfig
from clwm_train.data import TaskData, gather
from clwm_train.streams import Draws, Purpose, RandomStreams


@dataclass(frozen=True)
class Brief:
    """Beginnings of episodes, see :mod:`clwm_train.brief_context`.

    Attributes:
        transitions: [S, T, K, x], the first K transitions of an episode of each task, as the context encoder
            takes them; a shorter episode's last one is repeated.
        known: [S, T, B] int64, how many of them each window's policy knows; -1 for a whole context.
    """

    transitions: Tensor
    known: Tensor


@dataclass(frozen=True)
class TaskBatch:
    """A meta-batch of S seeds, T tasks, B windows of H steps, K context transitions.

    Attributes:
        task: [S, T] int64, position of each task among the sampler's train tasks.
        context: [S, T, K, x], transitions as the context encoder takes them.
        observation: [S, T, B, H + 1, obs]; where ``mask`` is 0 the last observation of the episode is
            repeated.
        action: [S, T, B, H, act].
        reward: [S, T, B, H].
        terminated: [S, T, B, H], 1 where the transition ended in a terminal state.
        mask: [S, T, B, H], 1 for transitions inside the episode, 0 for padding after its end.
        brief: beginnings of episodes; ``None`` unless policies are to learn from them.
    """

    task: Tensor
    context: Tensor
    observation: Tensor
    action: Tensor
    reward: Tensor
    terminated: Tensor
    mask: Tensor
    brief: Brief | None = None


class TaskBatchSampler:
    """Draws meta-batches; batch ``i`` depends on the seed and ``i`` alone, so a resumed run sees the
    same batches.

    Tasks are drawn with replacement. A task's windows are uniform over all places where a window fits into an
    episode; an episode shorter than the window gives one padded window. Context transitions are uniform
    over all of the task's transitions, with replacement.

    Args:
        data: arrays of all tasks.
        config: T, B, H and K.
        seeds: S of them.
        next_observation: context transitions hold s'.
        episode_share: share of the contexts from the beginning of one episode.
        brief_share: share of the windows with a brief context.
    """

    def __init__(
        self,
        data: TaskData,
        config: BatchConfig,
        seeds: Sequence[int],
        *,
        next_observation: bool,
        episode_share: float = 0.0,
        brief_share: float = 0.0,
    ) -> None:
        self.data = data
        self.config = config
        self.next_observation = next_observation
        self.episode_share = episode_share
        self.brief_share = brief_share
        positions = data.positions("train")
        if not positions:
            raise ClwmError("there is no train task to draw batches from")
        self.tasks = tuple(data.tasks[position] for position in positions)
        self._positions = torch.tensor(positions, device=data.device)
        self._task_count = torch.tensor(len(positions), device=data.device)
        self._streams = RandomStreams(seeds, data.device)
        places = (data.episode_length - config.horizon + 1).clamp_(min=1)
        #: [E + 1] number of window places before each episode.
        self._first_place = torch.cat([places.new_zeros(1), places.cumsum(0)])
        self._task_place = self._first_place[data.first_episode]
        self._steps = torch.arange(config.horizon + 1, device=data.device)

    def batch(self, step: int) -> TaskBatch:
        """The batch of one iteration."""
        config, draws = self.config, self._streams.at(Purpose.BATCH, step)
        task = _integers(draws, (config.tasks,), self._task_count)
        position = self._positions[task]
        window = self._draw(draws, self._task_place, position, config.windows)
        uniform = draws.uniform(config.tasks, config.context, dtype=torch.float64)
        low, high = self._context_range(position, step)
        context = low + _below(high - low, uniform)
        return TaskBatch(
            task=task,
            context=self.data.context(context, next_observation=self.next_observation),
            brief=self._brief(position, step) if self.brief_share else None,
            **self._windows(window),
        )

    def _context_range(self, position: Tensor, step: int) -> tuple[Tensor, Tensor]:
        """Transitions [S, T, 1] from and up to which contexts are drawn: all, or an episode's first."""
        data = self.data
        low = data.first_transition[position].unsqueeze(-1)
        high = data.first_transition[position + 1].unsqueeze(-1)
        if not self.episode_share:
            return low, high
        draws = self._streams.at(Purpose.EPISODE_CONTEXT, step)
        episode = self._draw(draws, data.first_episode, position, 1)
        size = 1 + _integers(draws, (self.config.tasks, 1), data.episode_length[episode])
        start = data.episode_start[episode]
        single = draws.uniform(self.config.tasks, 1) < self.episode_share
        return torch.where(single, start, low), torch.where(single, start + size, high)

    def _brief(self, position: Tensor, step: int) -> Brief:
        """The beginning of one episode of each task; drawn apart from the rest of the batch."""
        data, config = self.data, self.config
        draws = self._streams.at(Purpose.BRIEF_CONTEXT, step)
        episode = self._draw(draws, data.first_episode, position, 1)
        length = data.episode_length[episode]
        ahead = torch.minimum(torch.arange(config.context, device=data.device), length - 1)
        transitions = data.context(
            data.episode_start[episode] + ahead, next_observation=self.next_observation
        )
        most = length.clamp(max=config.context)
        uniform = draws.uniform(config.tasks, config.windows, dtype=torch.float64)
        known = torch.minimum(((most + 1) ** uniform).long() - 1, most)
        brief = draws.uniform(config.tasks, config.windows) < self.brief_share
        return Brief(transitions, torch.where(brief, known, -1))

    def _draw(self, draws: Draws, first: Tensor, position: Tensor, count: int) -> Tensor:
        """``count`` integers per task from [first[position], first[position + 1]): [S, T, count]."""
        low = first[position].unsqueeze(-1)
        high = first[position + 1].unsqueeze(-1)
        return low + _integers(draws, (*position.shape[1:], count), high - low)

    def _windows(self, place: Tensor) -> dict[str, Tensor]:
        """The windows at places [S, T, B]; see :class:`TaskBatch`."""
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


def _integers(draws: Draws, shape: tuple[int, ...], bound: Tensor) -> Tensor:
    """Integers uniform on [0, bound), bounds up to 2^53: [S, *shape]."""
    return _below(bound, draws.uniform(*shape, dtype=torch.float64))


def _below(bound: Tensor, uniform: Tensor) -> Tensor:
    """Uniform numbers on [0, 1) as integers on [0, bound)."""
    # u < 1 but u * bound may round up to bound.
    return torch.minimum((uniform * bound).long(), bound - 1)
