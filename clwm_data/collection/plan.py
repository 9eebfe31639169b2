"""Which episodes a manifest asks for, cut into segments: the unit of work, of commit and of distribution.

The number of an episode within its task, and with it its seed, is fixed beforehand: each behaviour of the
mixture has a range of numbers to itself, as long as it could possibly need. Where the manifest asks for
transitions, the number of episodes that it takes is known only once they have been rolled out. The first
ones that reach the number are kept, so they depend neither on the order of the work nor on how many surplus
episodes were rolled out.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from clwm_data.manifest import Manifest

#: A segment has about this many transitions: a second or so of simulation, the most that a kill can lose.
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


def next_segments(
    manifest: Manifest, task: int, behaviour: int, lengths: Sequence[int], planned: int
) -> list[Segment]:
    """The segments that a behaviour's share of a task still needs, as far as can be known.

    Args:
        manifest: what to collect.
        task: task index.
        behaviour: index into the mixture.
        lengths: lengths of the behaviour's first episodes; where the manifest asks for transitions, of all
            planned ones.
        planned: number of the behaviour's episodes that are in segments already.

    Returns:
        Segments that follow the planned ones; none if those suffice.
    """
    entry = manifest.behaviours[behaviour]
    if entry.transitions is None:
        needed = entry.most_episodes
    elif (missing := entry.transitions - sum(lengths)) <= 0:
        needed = planned
    else:
        expected = sum(lengths) / len(lengths) if lengths else manifest.task_family.horizon
        needed = min(planned + int(np.ceil(missing / expected)), entry.most_episodes)
    size = max(1, SEGMENT_TRANSITIONS // manifest.task_family.horizon)
    if entry.transitions is not None:
        # Whole segments, so that an interrupted collection finds them again, whatever lengths it expected.
        needed = min(-(-needed // size) * size, entry.most_episodes)
    offset = sum(before.most_episodes for before in manifest.behaviours[:behaviour])
    return [
        Segment(task, behaviour, offset + first, min(size, needed - first))
        for first in range(planned, needed, size)
    ]


def episodes_kept(manifest: Manifest, behaviour: int, lengths: Sequence[int]) -> int:
    """How many of a behaviour's episodes belong to the dataset, given the lengths of all planned ones."""
    needed = manifest.behaviours[behaviour].transitions
    if needed is None:
        return len(lengths)
    return int(np.searchsorted(np.cumsum(lengths), needed)) + 1


def noise_generator(seed: int) -> np.random.Generator:
    """Generator of a behaviour's noise in an episode, independent of the simulator's."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, zlib.crc32(b"behaviour")])))
