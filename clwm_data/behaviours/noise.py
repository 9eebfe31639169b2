"""Noise of episodes, which all but random behaviours draw in the same way."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from clwm_data.families.base import TaskFamily


class NormalNoise:
    """The part of a behaviour that draws its noise.

    Args:
        family: the family, whose horizon and action size give the noise its shape.
        scale: standard deviation.
    """

    def __init__(self, family: TaskFamily, scale: float = 1.0) -> None:
        self._shape = (family.horizon, family.action_size)
        self._scale = scale

    def draw(self, generator: np.random.Generator, lane: int = 0) -> NDArray[np.float64]:
        """Gaussian noise [horizon, act] of an episode, which begins in a lane now."""
        return self._scale * generator.standard_normal(self._shape)
