"""Trained policies as behaviours."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from clwm_data.behaviours.noise import Floats, NormalNoise, Observations
from clwm_data.families.base import ScriptedPolicy, TaskFamily
from clwm_data.zoo.policy import LearnedPolicy


class LearnedBehaviour(NormalNoise):
    """A trained policy that draws its actions."""

    def __init__(self, family: TaskFamily, policy: LearnedPolicy, task: int) -> None:
        super().__init__(family)
        self._policy = policy
        self._conditioning = family.conditioning.vectors[task]

    def act(self, observation: Observations, privileged: Floats | None, noise: Floats) -> Floats:
        """tanh(mean + std * noise) [L, act]."""
        return self._policy.act(observation, tiled(self._conditioning, len(observation)), noise)


def deterministic(family: TaskFamily, policy: LearnedPolicy, task: int) -> ScriptedPolicy:
    """A trained policy without its own noise, on one task."""
    conditioning = family.conditioning.vectors[task]

    def act(observation: NDArray[np.float32], privileged: Floats | None) -> Floats:
        return policy.act(observation, tiled(conditioning, len(observation)))

    return act


def tiled(vector: NDArray[np.float32], lanes: int) -> NDArray[np.float32]:
    """The same vector for every lane [L, c], without a copy."""
    return np.broadcast_to(vector, (lanes, len(vector)))
