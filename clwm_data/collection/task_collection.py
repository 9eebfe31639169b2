"""Progress of the collection of one task: which segments are planned, and which of them are finished."""

from __future__ import annotations

from pathlib import Path

from clwm_data.collection.plan import Segment, episodes_kept, next_segments
from clwm_data.collection.staging import is_sound, load_segment, segment_lengths
from clwm_data.manifest import Manifest
from clwm_data.store.arrays import Episode


class TaskCollection:
    """Plans the segments of a task, more of them as the lengths of its episodes become known.

    Attributes:
        task: task index.
        missing: segments that are planned but not finished.
    """

    def __init__(self, store: Path, manifest: Manifest, task: int) -> None:
        self.task = task
        self.missing: set[Segment] = set()
        self._store = store
        self._manifest = manifest
        behaviours = range(len(manifest.behaviours))
        self._planned: list[list[Segment]] = [[] for _ in behaviours]
        self._lengths: list[list[int]] = [[] for _ in behaviours]  # of the planned segments' episodes

    @property
    def episodes(self) -> int:
        """Number of episodes planned so far."""
        return sum(segment.episodes for segments in self._planned for segment in segments)

    def plan(self) -> list[Segment]:
        """Plan further segments if none is missing.

        Finished segments of an earlier collection are used; damaged ones are collected again.

        Returns:
            The missing segments; none when the task is complete.
        """
        while not self.missing:
            new = [
                segment
                for behaviour, lengths in enumerate(self._known_lengths())
                for segment in next_segments(
                    self._manifest, self.task, behaviour, lengths, self._count(behaviour)
                )
            ]
            if not new:
                return []
            for segment in new:
                self._planned[segment.behaviour].append(segment)
            self.missing = {segment for segment in new if not is_sound(self._store, segment)}
        return [segment for segments in self._planned for segment in segments if segment in self.missing]

    def load(self) -> list[Episode]:
        """The task's episodes, in order, when it is complete.

        Raises:
            DamagedDataError: a segment is damaged.
        """
        episodes: list[Episode] = []
        for behaviour, segments in enumerate(self._planned):
            loaded = [episode for segment in segments for episode in load_segment(self._store, segment)]
            kept = episodes_kept(self._manifest, behaviour, [len(episode.reward) for episode in loaded])
            episodes += loaded[:kept]
        return episodes

    def _count(self, behaviour: int) -> int:
        return sum(segment.episodes for segment in self._planned[behaviour])

    def _known_lengths(self) -> list[list[int]]:
        for segments, lengths in zip(self._planned, self._lengths, strict=True):
            for segment in segments:
                if segment.first_episode - segments[0].first_episode == len(lengths):
                    lengths += segment_lengths(self._store, segment)
        return self._lengths
