"""Random numbers as functions of (seed, purpose, step): a resumed run draws the same without saved state."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from enum import IntEnum
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

Generator = torch.Generator | np.random.Generator


class Purpose(IntEnum):
    """Purpose of a stream; streams of different purposes are independent. Never renumber."""

    INITIALISATION = 0
    BATCH = 1
    LATENT_NOISE = 2
    EVALUATION = 3
    OBJECTIVE_INITIALISATION = 4
    GATHERING = 5
    PLANNING = 6
    CANDIDATES = 7
    ACTION = 8
    TARGET_POLICY = 9


class Noise(ABC):
    """Random numbers of all seeds at one step."""

    @abstractmethod
    def uniform(self, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """Uniform on [0, 1): [S, *shape]."""

    def gumbel(self, *shape: int) -> Tensor:
        """Standard Gumbel noise: [S, *shape]."""
        return -torch.log(-torch.log(self.uniform(*shape)))

    def normal(self, *shape: int) -> Tensor:
        """Standard normal noise: [S, *shape] (Box and Muller 1958)."""
        first, second = self.uniform(2, *shape).unbind(1)
        return first.neg().log1p().mul(-2.0).sqrt() * second.mul(2.0 * math.pi).cos()


class Streams(Protocol):
    """Where the random numbers of a step come from."""

    def at(self, purpose: Purpose, step: int = 0) -> Noise:
        """The random numbers for a purpose at a step."""


class Drawn(Noise):
    """Uniform numbers drawn beforehand and returned in order, since a compiled graph cannot draw any."""

    def __init__(self, numbers: Sequence[Tensor]) -> None:
        self._numbers = numbers
        self._next = 0

    def uniform(self, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """The next ones, [S, *shape].

        Raises:
            ValueError: numbers of another shape or type were drawn.
        """
        numbers = self._numbers[self._next]
        if numbers.shape[1:] != shape or numbers.dtype != dtype:
            raise ValueError(f"numbers of shape {tuple(numbers.shape[1:])} were drawn, not of {shape}")
        self._next += 1
        return numbers


class Draws(Noise):
    """Draws of all seeds at one step; each seed has its own generator, so seeds never mix.

    On CPU the generators are NumPy's SFC64, about three times as fast as torch's; elsewhere torch's.
    """

    def __init__(self, generators: Sequence[Generator], device: torch.device) -> None:
        self.generators = generators
        self.device = device

    def uniform(self, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """Uniform on [0, 1): [S, *shape]."""
        out = torch.empty(len(self.generators), *shape, dtype=dtype, device=self.device)
        self.fill(out)
        return out

    def fill(self, numbers: Tensor) -> None:
        """Overwrite numbers [S, ...] with the next ones."""
        # One conversion of all rows: on CPU it would take as long as drawing the numbers.
        rows: Iterable[Any] = numbers.numpy() if self.device.type == "cpu" else numbers
        for generator, row in zip(self.generators, rows, strict=True):
            if isinstance(generator, torch.Generator):
                row.uniform_(generator=generator)
            else:
                generator.random(dtype=row.dtype, out=row)


class RandomStreams:
    """The random numbers of S seeds.

    Args:
        seeds: one per run that is trained; S of them.
        device: where the numbers are drawn. CPU and GPU draw different numbers from the same seed.
    """

    def __init__(self, seeds: Sequence[int], device: torch.device | str = "cpu") -> None:
        self.seeds = tuple(seeds)
        self.device = torch.device(device)
        self._generators: dict[Purpose, tuple[torch.Generator, ...]] = {}

    def at(self, purpose: Purpose, step: int = 0) -> Draws:
        """The draws of a step. On a GPU they invalidate earlier draws for the same purpose, whose generators
        they share (a recorded CUDA graph is bound to its generators).
        """
        if self.device.type == "cpu":
            fresh = [np.random.Generator(np.random.SFC64([seed, purpose, step])) for seed in self.seeds]
            return Draws(fresh, self.device)
        if purpose not in self._generators:
            self._generators[purpose] = tuple(torch.Generator(self.device) for _ in self.seeds)
        for seed, generator in zip(self.seeds, self._generators[purpose], strict=True):
            generator.manual_seed(derive(seed, purpose, step))
        return Draws(self._generators[purpose], self.device)


def derive(*entropy: int) -> int:
    """A 63-bit seed that mixes non-negative integers."""
    return int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0] >> np.uint64(1))
