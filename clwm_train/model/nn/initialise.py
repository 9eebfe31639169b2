"""Initial weights, drawn member by member from each seed's own generator."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from clwm_train.config import Init
from clwm_train.kernels.streams import Purpose, derive


class Initialiser:
    """Draws the weights of S seeds; a seed's weights do not depend on the others. Biases are 0.

    Weights are drawn on the CPU, so that they are the same on every device. The kinds:

    - ``truncated-normal-0.02``: published; standard deviation 0.02, truncated at two standard deviations,
      which leaves 0.88 of it: 0.0176. So it is with the two that follow.
    - ``fan-in``: the same with standard deviation 1/sqrt(inputs).
    - ``group-fan-in``: if the input joins G parts, such as [c, a, z], the weights of each part have standard
      deviation 1/sqrt(G * size), so that small parts (z, a) influence the output as much as a large one (c).
      Otherwise the few entries of z have little effect, and the policy learns late to use them.
    - ``orthogonal``: gain sqrt(2) in hidden layers.

    Args:
        seeds: the S seeds.
        init: the kind.
        purpose: networks that must not start with equal weights use different purposes.
    """

    def __init__(self, seeds: Sequence[int], init: Init, purpose: Purpose = Purpose.INITIALISATION) -> None:
        self.seeds = tuple(seeds)
        self.init = init
        self._generators = [torch.Generator().manual_seed(derive(seed, purpose)) for seed in self.seeds]

    def weight(self, parts: Sequence[int], outputs: int, *, copies: int = 1, hidden: bool = True) -> Tensor:
        """Weights [S * copies, inputs, outputs]; the copies of a seed lie side by side.

        Args:
            parts: sizes of the parts that the input joins; they add up to the number of inputs.
            outputs: entries of the output.
            copies: independent networks per seed.
            hidden: a non-linearity follows (matters to ``orthogonal``).
        """
        weight = torch.empty(len(self.seeds) * copies, sum(parts), outputs)
        for member, matrix in enumerate(weight):
            self._fill(matrix, parts, self._generators[member // copies], hidden)
        return weight

    def _fill(self, matrix: Tensor, parts: Sequence[int], generator: torch.Generator, hidden: bool) -> None:
        if self.init == "orthogonal":
            nn.init.orthogonal_(matrix, gain=math.sqrt(2.0) if hidden else 1.0, generator=generator)
            return
        unit = nn.init.trunc_normal_(matrix, std=1.0, a=-2.0, b=2.0, generator=generator)
        if self.init == "group-fan-in":
            for rows in torch.split(unit, list(parts)):
                rows.div_(math.sqrt(len(parts) * len(rows)))
        else:
            unit.mul_(0.02 if self.init == "truncated-normal-0.02" else 1.0 / math.sqrt(len(matrix)))
