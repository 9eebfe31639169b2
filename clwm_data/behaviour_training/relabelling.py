"""Replay that relabels transitions with the rewards that they would have received in other tasks."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.type_aliases import ReplayBufferSamples
from stable_baselines3.common.vec_env import VecNormalize

from clwm_data.behaviour_training.vec_env import REWARDS_ACROSS


class RelabellingReplayBuffer(ReplayBuffer):
    """Returns a share of the transitions as if they were of another task, drawn at random.

    The other task has the same dynamics, so the transition is valid there, too: only the conditioning vector
    at the end of the observations and the reward change. This is exact, since the simulator computed the
    rewards in all those tasks at the step.

    Args:
        args: arguments of the base class.
        conditioning: [L, c] conditioning vector of each lane.
        share: share of a batch that is relabelled, in [0, 1].
        seed: seed of the random choices.
        kwargs: keyword arguments of the base class.
    """

    def __init__(
        self, *args: Any, conditioning: NDArray[np.float32], share: float, seed: int, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self._conditioning, self._share = conditioning, share
        self._generator = np.random.default_rng(seed)
        #: [size, environments, L] reward in the task of each lane, NaN where its dynamics differ.
        self.rewards_across = np.zeros((*self.rewards.shape, len(conditioning)), np.float32)

    def add(self, *args: Any, **kwargs: Any) -> None:
        """Store a step of all environments; the last argument is its infos."""
        infos: list[dict[str, Any]] = kwargs["infos"] if "infos" in kwargs else args[-1]
        self.rewards_across[self.pos] = [info[REWARDS_ACROSS] for info in infos]
        super().add(*args, **kwargs)

    def _get_samples(
        self, batch_inds: NDArray[np.int64], env: VecNormalize | None = None
    ) -> ReplayBufferSamples:
        """Transitions at the given times, each of an environment drawn at random."""
        count = len(batch_inds)
        environments = self._generator.integers(self.n_envs, size=count)
        at = (batch_inds, environments)
        observations, following = self.observations[at], self.next_observations[at]
        rewards = self.rewards[at]
        other = np.flatnonzero(self._generator.random(count) < self._share)
        across = self.rewards_across[batch_inds[other], environments[other]]
        lanes = np.where(np.isfinite(across), self._generator.random(across.shape), -1.0).argmax(1)
        size = self._conditioning.shape[1]
        observations[other, -size:] = following[other, -size:] = self._conditioning[lanes]
        rewards[other] = across[np.arange(len(other)), lanes]
        ended = self.dones[at] * (1.0 - self.timeouts[at])
        arrays = (observations, self.actions[at], following, ended[:, None], rewards[:, None])
        return ReplayBufferSamples(*map(self.to_torch, arrays))
