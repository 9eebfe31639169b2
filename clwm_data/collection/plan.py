"""Which episodes a manifest asks for, cut into segments: the unit of work, of commit and of distribution.

The number of an episode within its task, and with it its seed, is fixed beforehand: each behaviour of the
mixture has a range of numbers to itself, as long as it could possibly need. Where the manifest asks for
transitions, how many of these episodes it takes is known only once they were rolled out: those kept are the
first ones that reach the number, so they depend neither on the order of the work nor on how much of it was
done in vain.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
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


def next_segments(
    manifest: Manifest, task: int, behaviour: int, lengths: Sequence[int], planned: int
) -> list[Segment]:
    """The segments that a behaviour's share of a task still needs, as far as can be known.

    Args:
        manifest: what to collect.
        task: task index.
        behaviour: index into the mixture.
        lengths: lengths of the behaviour's first episodes; of all that are planned, where the manifest asks
            for transitions.
        planned: number of its episodes that are in segments already.

    Returns:
        segments that follow those planned; none if these suffice.
    """
    entry = manifest.behaviours[behaviour]
    if entry.transitions is None:
        wanted = entry.most_episodes
    elif (lacking := entry.transitions - sum(lengths)) <= 0:
        wanted = planned
    else:
        expected = sum(lengths) / len(lengths) if lengths else manifest.task_family.horizon
        wanted = min(planned + int(np.ceil(lacking / expected)), entry.most_episodes)
    size = max(1, SEGMENT_TRANSITIONS // manifest.task_family.horizon)
    if entry.transitions is not None:
        # Whole segments: an interrupted collection then finds them again whatever it expected before.
        wanted = min(-(-wanted // size) * size, entry.most_episodes)
    offset = sum(before.most_episodes for before in manifest.behaviours[:behaviour])
    return [
        Segment(task, behaviour, offset + first, min(size, wanted - first))
        for first in range(planned, wanted, size)
    ]


def episodes_kept(manifest: Manifest, behaviour: int, lengths: Sequence[int]) -> int:
    """How many of a behaviour's episodes belong to the dataset, given the lengths of all planned ones."""
    wanted = manifest.behaviours[behaviour].transitions
    if wanted is None:
        return len(lengths)
    return int(np.searchsorted(np.cumsum(lengths), wanted)) + 1


def noise_generator(seed: int) -> np.random.Generator:
    """Generator of a behaviour's noise in an episode, apart from what the simulator draws."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, zlib.crc32(b"behaviour")])))
