"""Which episodes a manifest asks for, cut into segments: the unit of work, of commit and of distribution."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from clwm_data.manifest import Manifest

#: A segment is about this many transitions: a second or so of simulation, lost at most when killed.
SEGMENT_TRANSITIONS = 5_000


@dataclass(frozen=True)
class Segment:
    """Consecutive episodes of one task by one behaviour; its bytes depend on nothing else.

    Attributes:
        task: task index.
        behaviour: index into the manifest's mixture.
        first_episode: number of the first episode within the task.
        episodes: how many.
    """

    task: int
    behaviour: int
    first_episode: int
    episodes: int

    @property
    def name(self) -> str:
        """File name of the finished segment."""
        return f"{self.first_episode:07d}-{self.first_episode + self.episodes - 1:07d}.npz"


def task_segments(manifest: Manifest, task: int) -> Iterator[Segment]:
    """The segments of a task, in the order of their episodes."""
    size = max(1, SEGMENT_TRANSITIONS // manifest.task_family.horizon)
    first = 0
    for behaviour, entry in enumerate(manifest.behaviours):
        end = first + entry.episodes
        while first < end:
            episodes = min(size, end - first)
            yield Segment(task, behaviour, first, episodes)
            first += episodes


def episode_seed(manifest_seed: int, family: str, task: int, episode: int) -> int:
    """Seed of an episode, in [0, 2^63): a function of these four alone."""
    entropy = [manifest_seed, zlib.crc32(family.encode()), task, episode]
    return int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0] >> np.uint64(1))


def noise_generator(seed: int) -> np.random.Generator:
    """Generator of a behaviour's noise in an episode, apart from what the simulator draws."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, zlib.crc32(b"behaviour")])))
