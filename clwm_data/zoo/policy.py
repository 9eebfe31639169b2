"""A trained, task-conditioned behaviour policy: a squashed Gaussian, computed with NumPy alone."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from clwm_data.zoo.network import Network

#: Range to which the learner clips the log standard deviation (Haarnoja et al. 2018).
LOG_STD_RANGE = (-20.0, 2.0)


class LearnedPolicy:
    """pi(a | s, task) = tanh(N(mean, std)); row i of every result depends on row i of the inputs alone."""

    def __init__(self, tensors: Mapping[str, NDArray[np.float32]]) -> None:
        """Build the policy from the tensors that :class:`clwm_data.zoo.network.Network` describes.

        The network's outputs are the mean and the log standard deviation of each action.

        Raises:
            ValueError: the tensors are not those of such a policy.
        """
        self._network = Network(tensors)
        if self._network.outputs % 2:
            raise ValueError(f"{self._network.outputs} outputs are not a mean and a deviation per action")
        self.input_size = self._network.inputs
        self.action_size = self._network.outputs // 2

    def act(
        self,
        observation: NDArray[np.float32],
        conditioning: NDArray[np.float32],
        noise: NDArray[np.float64] | None = None,
    ) -> NDArray[np.float64]:
        """Actions [L, act] in [-1, 1].

        Args:
            observation: [L, obs].
            conditioning: [L, c]: each lane's task, see ``TaskFamily.conditioning``.
            noise: [L, act] standard normal; ``None`` for the deterministic action, tanh(mean).
        """
        inputs = np.concatenate([observation, conditioning], axis=1, dtype=np.float64)
        output = self._network(inputs)
        mean = output[:, : self.action_size]
        if noise is None:
            return np.tanh(mean)
        return np.tanh(mean + np.exp(np.clip(output[:, self.action_size :], *LOG_STD_RANGE)) * noise)
