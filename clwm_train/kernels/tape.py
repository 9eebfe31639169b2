"""Random numbers in memory that stays where it is, for computations that are recorded once and replayed."""

from __future__ import annotations

import torch
from torch import Tensor

from clwm_train.kernels.streams import Noise, Purpose, RandomStreams


class Tape:
    """Returns the numbers of :class:`RandomStreams`, always in the same tensors.

    The first computation on the tape determines how many numbers are drawn, for which purposes and in which
    shapes; all later ones must draw the same. Before each of them, :meth:`rewind` fills the tensors anew.

    Args:
        streams: where the numbers come from.
    """

    def __init__(self, streams: RandomStreams) -> None:
        self._streams = streams
        self._numbers: dict[Purpose, list[Tensor]] = {}

    def rewind(self, step: int) -> None:
        """Draw the numbers of a step into the tensors that were returned so far."""
        for purpose, numbers in self._numbers.items():
            draws = self._streams.at(purpose, step)
            for tensor in numbers:
                draws.fill(tensor)

    def at(self, purpose: Purpose, step: int = 0) -> Noise:
        """The numbers for a purpose at the step to which the tape was rewound."""
        if purpose in self._numbers:
            return _Replayed(self._numbers[purpose])
        self._numbers[purpose] = []
        return _Taped(self._streams.at(purpose, step), self._numbers[purpose])


class _Taped(Noise):
    """Draws numbers and keeps them."""

    def __init__(self, draws: Noise, kept: list[Tensor]) -> None:
        self._draws = draws
        self._kept = kept

    def uniform(self, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        self._kept.append(self._draws.uniform(*shape, dtype=dtype))
        return self._kept[-1]


class _Replayed(Noise):
    """Returns what was kept, in order."""

    def __init__(self, kept: list[Tensor]) -> None:
        self._kept = iter(kept)

    def uniform(self, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        numbers = next(self._kept, None)
        if numbers is None or numbers.shape[1:] != shape or numbers.dtype != dtype:
            raise ValueError(f"the tape holds no numbers of shape {shape} here")
        return numbers
