"""Noise of episodes, which all but random behaviours draw in the same way."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from clwm_data.families.base import TaskFamily

#: Observations [L, obs] of L lanes, as behaviours see them.
Observations = NDArray[np.float32]
#: Actions and noise, in double precision.
Floats = NDArray[np.float64]


class NormalNoise:
    """The part of a behaviour that draws its noise.

    Args:
        family: the family, whose horizon and action size give the noise its shape.
        scale: standard deviation.
    """

    def __init__(self, family: TaskFamily, scale: float = 1.0) -> None:
        self._shape = (family.horizon, family.action_size)
        self._scale = scale

    def draw(self, generator: np.random.Generator, lane: int = 0) -> Floats:
        """Gaussian noise [horizon, act] of an episode, which begins in a lane now."""
        return self._scale * generator.standard_normal(self._shape)
