"""Random numbers as functions of (seed, purpose, step): nothing to save, so a resumed run draws the same."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from enum import IntEnum

import numpy as np
import torch
from torch import Tensor


class Purpose(IntEnum):
    """What a stream is for: streams of different purposes are independent. Never renumber."""

    INITIALISATION = 0
    BATCH = 1
    LATENT_NOISE = 2
    EVALUATION = 3
    OBJECTIVE_INITIALISATION = 4
    GATHERING = 5
    PLANNING = 6
    CANDIDATES = 7


class Draws:
    """Draws of all seeds at one step; each seed has its own generator, so seeds never mix."""

    def __init__(self, generators: Sequence[torch.Generator]) -> None:
        self.generators = generators

    def uniform(self, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """Uniform on [0, 1): [S, *shape]."""
        return self._fill(shape, dtype, lambda out, generator: out.uniform_(generator=generator))

    def normal(self, *shape: int) -> Tensor:
        """Standard normal noise: [S, *shape] (Box and Muller 1958)."""
        first, second = self.uniform(2, *shape).unbind(1)
        return first.neg_().log1p_().mul_(-2.0).sqrt_() * second.mul_(2.0 * math.pi).cos_()

    def exponential(self, *shape: int) -> Tensor:
        """Standard exponential noise, positive: [S, *shape]."""
        # -log(1 - u) is several times quicker on CPU than exponential_; u = 0 must not give 0.
        noise = self.uniform(*shape).neg_().log1p_().neg_()
        return noise.clamp_(min=torch.finfo(torch.float32).tiny)

    def gumbel(self, *shape: int) -> Tensor:
        """Standard Gumbel noise, from the same draws as ``exponential``: [S, *shape]."""
        return self.exponential(*shape).log_().neg_()

    def _fill(
        self, shape: tuple[int, ...], dtype: torch.dtype, fill: Callable[[Tensor, torch.Generator], Tensor]
    ) -> Tensor:
        device = self.generators[0].device
        out = torch.empty(len(self.generators), *shape, dtype=dtype, device=device)
        for row, generator in zip(out, self.generators, strict=True):
            fill(row, generator)
        return out


class RandomStreams:
    """The random numbers of S seeds.

    Args:
        seeds: one per run that is trained; S of them.
        device: where the numbers are drawn. CPU and GPU draw different numbers from the same seed.
    """

    def __init__(self, seeds: Sequence[int], device: torch.device | str = "cpu") -> None:
        self.seeds = tuple(seeds)
        self._generators = tuple(torch.Generator(device) for _ in self.seeds)

    def at(self, purpose: Purpose, step: int = 0) -> Draws:
        """The draws of a step; they end the draws handed out before, whose generators they share."""
        for seed, generator in zip(self.seeds, self._generators, strict=True):
            generator.manual_seed(derive(seed, purpose, step))
        return Draws(self._generators)


def derive(*entropy: int) -> int:
    """A 63-bit seed that mixes non-negative integers."""
    return int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0] >> np.uint64(1))
