"""Initial weights, drawn member by member from each seed's own generator."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from clwm_train.streams import Purpose, derive

Init = Literal["truncated-normal-0.02", "fan-in", "orthogonal"]


class Initialiser:
    """Draws the weights of S seeds; a seed's weights do not depend on the others.

    Drawn on the CPU, so that they are the same on every device.

    Args:
        seeds: S of them.
        init: ``truncated-normal-0.02`` (published; cut at two standard deviations), ``fan-in``
            (truncated normal of standard deviation 1/sqrt(inputs)) or ``orthogonal`` (gain sqrt(2) in
            hidden layers). Biases are 0.
    """

    def __init__(self, seeds: Sequence[int], init: Init) -> None:
        self.seeds = tuple(seeds)
        self.init = init
        self._generators = [
            torch.Generator().manual_seed(derive(seed, Purpose.INITIALISATION)) for seed in self.seeds
        ]

    def weight(self, inputs: int, outputs: int, *, copies: int = 1, hidden: bool = True) -> Tensor:
        """Weights [S * copies, inputs, outputs]; the copies of a seed lie side by side.

        Args:
            inputs: entries in.
            outputs: entries out.
            copies: independent networks per seed.
            hidden: a non-linearity follows (matters to ``orthogonal``).
        """
        weight = torch.empty(len(self.seeds) * copies, inputs, outputs)
        for member, matrix in enumerate(weight):
            self._fill(matrix, self._generators[member // copies], hidden)
        return weight

    def _fill(self, matrix: Tensor, generator: torch.Generator, hidden: bool) -> None:
        if self.init == "orthogonal":
            nn.init.orthogonal_(matrix, gain=math.sqrt(2.0) if hidden else 1.0, generator=generator)
            return
        std = 0.02 if self.init == "truncated-normal-0.02" else 1.0 / math.sqrt(matrix.shape[0])
        nn.init.trunc_normal_(matrix, std=std, a=-2.0 * std, b=2.0 * std, generator=generator)
