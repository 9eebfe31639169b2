"""Random numbers of episodes: each has its own stream, independent of the episodes beside it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from clwm_train.kernels.streams import Purpose, derive


class EpisodeNoise:
    """Standard normal numbers of the current episodes of L lanes, for each of S seeds of an agent.

    They depend only on the agent's seed, the purpose and the episode's seed; they are drawn on the CPU, so
    that they are the same on every device.

    Args:
        seeds: the S seeds of the agent.
        purpose: purpose of the numbers.
        device: device of the numbers.
    """

    def __init__(self, seeds: Sequence[int], purpose: Purpose, device: torch.device) -> None:
        self._seeds, self._purpose, self._device = seeds, purpose, device
        self._generators: list[list[np.random.Generator]] = []

    def begin(self, started: NDArray[np.bool_], episodes: NDArray[np.int64]) -> None:
        """Lanes ``started`` [S, L] begin the episodes with the seeds ``episodes`` [S, L].

        The first call, or one with another number of lanes, begins episodes in all of them.
        """
        if [len(row) for row in self._generators] != [started.shape[1]] * len(self._seeds):
            self._generators = [[np.random.default_rng(0)] * started.shape[1] for _ in self._seeds]
            started = np.ones_like(started)
        for row, lane in np.argwhere(started):
            entropy = derive(self._seeds[row], self._purpose, int(episodes[row, lane]))
            self._generators[row][lane] = np.random.Generator(np.random.SFC64(entropy))

    def normal(self, *shape: int) -> Tensor:
        """The next numbers of every lane: [S, L, *shape] float32."""
        lanes = len(self._generators[0])
        numbers = np.empty((len(self._seeds), lanes, *shape), np.float32)
        for row, generators in zip(numbers, self._generators, strict=True):
            for out, generator in zip(row, generators, strict=True):
                generator.standard_normal(dtype=np.float32, out=out)
        return torch.from_numpy(numbers).to(self._device)
