"""What must hold for the values of a task, whatever its digests say."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clwm_data.manifest import BehaviourEntry
from clwm_data.store.arrays import TaskArrays


@dataclass(frozen=True)
class Finding:
    """Something that is wrong with a store.

    Attributes:
        where: file, array, task or episode.
        what: what is wrong with it, and what was expected.
    """

    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


def value_range(array: NDArray[Any]) -> tuple[float, float]:
    """Least and greatest value of floats, NaN if any value is; (0, 0) of others and of none.

    They take no memory, and half the time of a look at each value.
    """
    if array.dtype.kind != "f" or not array.size:
        return 0.0, 0.0
    return float(array.min()), float(array.max())


def value_findings(
    where: str,
    arrays: TaskArrays,
    mixture: Sequence[BehaviourEntry],
    ranges: Mapping[str, tuple[float, float]] | None = None,
) -> Iterator[Finding]:
    """Values that nothing may be computed from: not finite, out of bounds, or pointing nowhere.

    Args:
        where: how to name the task in findings.
        arrays: its data.
        mixture: its behaviours.
        ranges: :func:`value_range` of the arrays as they are stored, by name, if it is known already.
    """
    stored, action = arrays.named(), arrays.action
    ranges = {name: value_range(array) for name, array in stored.items()} if ranges is None else ranges
    for name, array in stored.items():
        if not all(map(math.isfinite, ranges[name])):
            row = int(np.flatnonzero(~np.isfinite(array).reshape(len(array), -1).all(axis=1))[0])
            yield Finding(f"{where}: {name}", f"row {row} holds a value that is not finite")
    low, high = value_range(action) if arrays.discrete else ranges["action"]
    if not -1.0 <= low <= high <= 1.0:
        outside = ((action < -1.0) | (action > 1.0)).any(axis=1)  # nowhere, if one is not a number
        for row in np.flatnonzero(outside)[:1]:
            yield Finding(f"{where}: action", f"row {row} is outside [-1, 1]")
    behaviour = arrays.episode_behaviour
    if not ((behaviour >= 0) & (behaviour < len(mixture))).all():
        yield Finding(f"{where}: episode_behaviour", f"holds a number outside 0 to {len(mixture) - 1}")
    yield from index_findings(where, arrays)


def index_findings(where: str, arrays: TaskArrays) -> Iterator[Finding]:
    """Whether the episodes cover the transitions one after another."""
    start, length = arrays.episode_start, arrays.episode_length
    bounded = ((length >= 1) & (length <= arrays.transitions)).all()  # so that no sum overflows
    if (
        not bounded
        or length.sum() != arrays.transitions
        or (start != np.concatenate([[0], np.cumsum(length)[:-1]])).any()
        or len(arrays.observation) != arrays.transitions + arrays.episodes
    ):
        yield Finding(f"{where}: episode index", "does not cover the transitions one after another")
