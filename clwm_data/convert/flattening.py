"""Values of a Gymnasium space, one per step, as vectors (extra ``sim``)."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from clwm_data.errors import InvalidInputError
from clwm_data.families.declared.spaces import check_observations
from clwm_data.store.arrays import one_hot


def flat_rows(space: spaces.Space[Any], values: Any, where: str) -> NDArray[Any]:
    """[N, width], each row as :func:`gymnasium.spaces.flatten` gives it.

    Args:
        space: of one value: Box, Discrete, MultiBinary, MultiDiscrete, Dict or Tuple of them.
        values: N of them, as Minari stores them: an array; a dict or a tuple of such.
        where: how to name them in messages.

    Raises:
        InvalidInputError: another space, pictures, or values that are not of the space.
    """
    check_observations(space, where)
    return _rows(space, values, where)


def _rows(space: spaces.Space[Any], values: Any, where: str) -> NDArray[Any]:
    if isinstance(space, spaces.Dict | spaces.Tuple):
        keys = list(space.spaces) if isinstance(space, spaces.Dict) else list(range(len(space.spaces)))
        try:
            parts = [(key, values[key]) for key in keys]
        except (LookupError, TypeError) as error:
            raise InvalidInputError(f"{where}: has no part {error.args[0]!r}, unlike its space") from error
        rows = [_rows(space.spaces[key], part, f"{where}: {key}") for key, part in parts]  # type: ignore[index]
        if len({len(part) for part in rows}) > 1:
            raise InvalidInputError(
                f"{where}: its parts have {', '.join(str(len(part)) for part in rows)} rows"
            )
        return np.hstack(rows)
    array = np.asarray(values)
    if array.ndim == 0 or array.dtype.kind not in "fiub":
        raise InvalidInputError(f"{where}: holds no numbers, one value per step")
    if isinstance(space, spaces.Discrete):
        return _numbered(array.reshape(len(array), -1), [int(space.n)], int(space.start), where)
    if isinstance(space, spaces.MultiDiscrete):
        counts = np.asarray(space.nvec).ravel()
        return _numbered(
            array.reshape(len(array), -1), counts.tolist(), np.asarray(space.start).ravel(), where
        )
    return array.reshape(len(array), -1)


def _numbered(rows: NDArray[Any], counts: list[int], start: Any, where: str) -> NDArray[Any]:
    """[N, sum of counts] one-hot vectors beside each other, of numbers [N, columns]."""
    numbers = rows - start
    if rows.shape[1] != len(counts) or not ((numbers >= 0) & (numbers < counts)).all():
        raise InvalidInputError(f"{where}: holds a number that its space does not have")
    columns = [one_hot(numbers[:, column].astype(np.int64), count) for column, count in enumerate(counts)]
    return np.hstack(columns)
