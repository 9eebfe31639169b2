"""Datasets of noise in the shape of a family's."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from clwm_data.families import Split
from clwm_data.store.arrays import TaskArrays


@dataclass(frozen=True)
class SyntheticTask:
    """A task of a store that is in memory; ``load`` makes its arrays, the same ones every time."""

    index: int
    episodes: int
    length: int
    observation_size: int
    action_size: int
    split: Split = "train"
    behaviours: tuple[str, ...] = ("random",)

    def load(self) -> TaskArrays:
        rng = np.random.default_rng(self.index)
        transitions = self.episodes * self.length
        ends = np.arange(1, transitions + 1) % self.length == 0
        start = np.arange(self.episodes, dtype=np.int64) * self.length
        reward = rng.standard_normal(transitions, dtype=np.float32)
        return TaskArrays(
            observation=rng.standard_normal(
                (transitions + self.episodes, self.observation_size), dtype=np.float32
            ),
            action=2.0 * rng.random((transitions, self.action_size), dtype=np.float32) - 1.0,
            reward=reward,
            terminated=np.zeros(transitions, np.bool_),
            truncated=ends,
            success=None,
            episode_start=start,
            episode_length=np.full(self.episodes, self.length, np.int64),
            episode_return=reward.reshape(self.episodes, -1).sum(1, dtype=np.float64),
            episode_seed=None,
            episode_behaviour=np.zeros(self.episodes, np.int16),
            episode_initial_state=None,
        )


def synthetic_task(
    index: int, episodes: int, length: int, observation_size: int, action_size: int
) -> SyntheticTask:
    """A train task."""
    return SyntheticTask(index, episodes, length, observation_size, action_size)
