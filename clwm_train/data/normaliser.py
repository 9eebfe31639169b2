"""Scaling of observations and rewards, fitted to the train tasks and kept with the agent."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from clwm_data.store.arrays import TaskArrays
from clwm_train.config import DataConfig

#: Entries that vary less than this are left unscaled (hidden goals, constant features).
SMALLEST_STD = 1e-6


class Normaliser(nn.Module):
    """observation -> (observation - mean) / std, clipped; reward -> scale * reward.

    Args:
        observation_size: entries of an observation.
        clip: scaled entries are kept within plus and minus this; ``None``: they are not.

    Attributes:
        mean: [obs] float32.
        std: [obs] float32.
        reward_scale: [] float32.
    """

    mean: Tensor
    std: Tensor
    reward_scale: Tensor

    def __init__(self, observation_size: int, clip: float | None = None) -> None:
        super().__init__()
        self.clip = clip
        self.register_buffer("mean", torch.zeros(observation_size))
        self.register_buffer("std", torch.ones(observation_size))
        self.register_buffer("reward_scale", torch.ones(()))

    def observation(self, observation: Tensor) -> Tensor:
        """Scale observations [..., obs]."""
        return self.observation_(observation.clone())

    def observation_(self, observation: Tensor) -> Tensor:
        """The same in place, for arrays that are not to be held twice."""
        scaled = observation.sub_(self.mean).div_(self.std)
        return scaled if self.clip is None else scaled.clamp_(-self.clip, self.clip)

    def reward(self, reward: Tensor) -> Tensor:
        """Scale rewards [...]."""
        return reward * self.reward_scale

    @staticmethod
    def fit(tasks: Iterable[TaskArrays], observation_size: int, config: DataConfig) -> Normaliser:
        """Fit to the arrays of the train tasks, every stored row counted once.

        Standard deviations are at least ``std_floor`` times the size of their entry: its root mean square, or
        the median of those of all entries that are not 0 if that is more. (A simulator's jitter around 0 is
        as large as its own size, and is seen to be small only beside the other entries.)
        """
        observation, reward = _Moments(observation_size), _Moments(1)
        for arrays in tasks:
            observation.add(arrays.observation)
            reward.add(arrays.reward[:, None])
        normaliser = Normaliser(observation_size, config.clip_observation)
        if config.standardise_observation:
            normaliser.mean.copy_(torch.from_numpy(observation.mean))
            normaliser.std.copy_(torch.from_numpy(_at_least(config.std_floor, observation)))
        scale = 1.0 / float(reward.std[0]) if config.reward_scale == "auto" else config.reward_scale
        normaliser.reward_scale.fill_(scale)
        return normaliser


def _at_least(floor: float, moments: _Moments) -> NDArray[np.float64]:
    """Standard deviations, none of them below ``floor`` times its entry's size."""
    sizes = np.sqrt(moments.mean**2 + moments.variance)
    typical = np.median(sizes[sizes > 0]) if np.any(sizes > 0) else 0.0
    return np.maximum(moments.std, floor * np.maximum(sizes, typical))


class _Moments:
    """Mean and standard deviation of rows that arrive in chunks, in float64."""

    def __init__(self, size: int) -> None:
        self.count = 0
        self.mean = np.zeros(size)
        self._squares = np.zeros(size)

    def add(self, rows: NDArray[np.float32]) -> None:
        count = len(rows)
        mean = rows.mean(0, dtype=np.float64)
        squares = rows.var(0, dtype=np.float64) * count
        total = self.count + count
        delta = mean - self.mean
        self.mean = self.mean + delta * (count / total)
        self._squares = self._squares + squares + delta**2 * (self.count * count / total)
        self.count = total

    @property
    def variance(self) -> NDArray[np.float64]:
        return self._squares / self.count

    @property
    def std(self) -> NDArray[np.float64]:
        std = np.sqrt(self.variance)
        return np.where(std < SMALLEST_STD, 1.0, std)
