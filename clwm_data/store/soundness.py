"""What must hold for the values of a task, whatever its digests say."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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


def value_findings(where: str, arrays: TaskArrays, mixture: Sequence[BehaviourEntry]) -> Iterator[Finding]:
    """Values that nothing may be computed from: not finite, out of bounds, or pointing nowhere.

    Args:
        where: how to name the task in findings.
        arrays: its data.
        mixture: its behaviours.
    """
    for name, array in arrays.named().items():
        if array.dtype.kind == "f" and not _all_finite(array):
            row = int(np.flatnonzero(~np.isfinite(array).reshape(len(array), -1).all(axis=1))[0])
            yield Finding(f"{where}: {name}", f"row {row} holds a value that is not finite")
    action = arrays.action
    if action.size and not -1.0 <= action.min() <= action.max() <= 1.0:  # quicker than to look at each value
        outside = ((action < -1.0) | (action > 1.0)).any(axis=1)  # nowhere, if one is not a number
        for row in np.flatnonzero(outside)[:1]:
            yield Finding(f"{where}: action", f"row {row} is outside [-1, 1]")
    behaviour = arrays.episode_behaviour
    if not ((behaviour >= 0) & (behaviour < len(mixture))).all():
        yield Finding(f"{where}: episode_behaviour", f"holds a number outside 0 to {len(mixture) - 1}")
    yield from index_findings(where, arrays)


def _all_finite(array: NDArray[Any]) -> bool:
    # Extremes are NaN where any value is; they take no memory and half the time of a look at each value.
    return array.size == 0 or bool(-np.inf < array.min() and array.max() < np.inf)


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
