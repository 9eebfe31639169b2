"""Actions of an actor during its updates, a Gaussian squashed by tanh, differentiated by hand."""

from __future__ import annotations

import math

import torch
from sb3_contrib.crossq.policies import LOG_STD_MAX, LOG_STD_MIN
from torch import Tensor

#: Keeps the logarithm of the density finite; sb3-contrib's.
EPSILON = 1e-6


class Draw:
    """a = tanh(mean + exp(log std) noise) for each column, and its log density. Used without autograd.

    Args:
        outputs: [2 A, B] the actor's means and unclipped log standard deviations.
        noise: [A, B] standard normal.

    Attributes:
        action: [A, B].
        log_prob: [B].
    """

    def __init__(self, outputs: Tensor, noise: Tensor) -> None:
        mean, self._unclipped = outputs.chunk(2)
        log_std = self._unclipped.clamp(LOG_STD_MIN, LOG_STD_MAX)
        self._step = log_std.exp() * noise
        self.action = (mean + self._step).tanh()
        self._slope = 1.0 - self.action.square()
        density = -0.5 * noise.square() - log_std - (self._slope + EPSILON).log()
        self.log_prob = density.sum(0) - 0.5 * math.log(2.0 * math.pi) * len(mean)

    def backward(self, of_action: Tensor, of_log_prob: float | Tensor) -> Tensor:
        """Gradient of the outputs [2 A, B] for those of the actions [A, B] and of each log density.

        At the mean plus a step, the Gaussian's log density depends on log std alone.
        """
        of_squashing = 2.0 * self.action * self._slope / (self._slope + EPSILON)
        of_mean = of_action * self._slope + of_log_prob * of_squashing
        of_log_std = of_mean * self._step - of_log_prob
        inside = (self._unclipped >= LOG_STD_MIN) & (self._unclipped <= LOG_STD_MAX)
        return torch.cat([of_mean, of_log_std * inside])
