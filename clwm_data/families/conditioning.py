"""Task parameters as task-conditioned policies see them: numbers in [-1, 1]."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Conditioning:
    """A vector for each task of a family, each entry scaled linearly to [-1, 1] over all of its tasks.

    Attributes:
        names: [c] name of each entry: a parameter, or ``goal[0]`` for an entry of one.
        low: [c] smallest value over all tasks, in the parameter's units; becomes -1.
        high: [c] largest value over all tasks; becomes 1.
        vectors: [T, c] float32.
    """

    names: tuple[str, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    vectors: NDArray[np.float32]

    def scale(self, numbers: NDArray[np.float64]) -> NDArray[np.float64]:
        """Scale numbers [..., c] in the units of the parameters to the policy's inputs."""
        return _scale(numbers, np.asarray(self.low), np.asarray(self.high))

    def unscale(self, vectors: NDArray[np.float64]) -> NDArray[np.float64]:
        """The inverse of :meth:`scale`."""
        low, high = np.asarray(self.low), np.asarray(self.high)
        return np.asarray(low + (vectors + 1.0) / 2.0 * (high - low))


def conditioning_of(tasks: Sequence[Mapping[str, float | tuple[float, ...]]]) -> Conditioning:
    """Scale the numbers of some tasks; those that are equal in all tasks are left out.

    Args:
        tasks: the numbers of each task, under the same names and in the same order.

    Raises:
        ValueError: the tasks name different parameters.
    """
    rows = [flattened(task) for task in tasks]
    names = list(rows[0])
    if any(list(row) != names for row in rows):
        raise ValueError("the tasks of a family must name the same parameters")
    values = np.asarray([list(row.values()) for row in rows], np.float64)
    low, high = values.min(axis=0), values.max(axis=0)
    varies = high > low
    low, high = low[varies], high[varies]
    scaled = _scale(values[:, varies], low, high)
    return Conditioning(
        names=tuple(name for name, keep in zip(names, varies, strict=True) if keep),
        low=tuple(low.tolist()),
        high=tuple(high.tolist()),
        vectors=scaled.astype(np.float32),
    )


def _scale(
    numbers: NDArray[np.float64], low: NDArray[np.float64], high: NDArray[np.float64]
) -> NDArray[np.float64]:
    return np.asarray(2.0 * (numbers - low) / (high - low) - 1.0)


def flattened(task: Mapping[str, float | tuple[float, ...]]) -> dict[str, float]:
    """Parameters as single numbers: ``goal[0]``, ``goal[1]`` for a tuple ``goal``."""
    flat: dict[str, float] = {}
    for name, value in task.items():
        if isinstance(value, tuple):
            flat.update({f"{name}[{index}]": number for index, number in enumerate(value)})
        else:
            flat[name] = value
    return flat
