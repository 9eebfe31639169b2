"""Actions that nobody says to be discrete, though they look so: they are read as vectors, and it is told."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Above it, whole numbers are rather counts of something than numbers of actions.
MOST = 256


def seem_discrete(action: NDArray[Any]) -> bool:
    """Whether actions [N, act], not scaled, may be discrete: numbers from 0, or one-hot; and they vary."""
    if not len(action) or (action == action[0]).all():
        return False
    if action.shape[1] > 1:
        return bool(one_hot_rows(action).all())
    return bool(((action >= 0) & (action < MOST) & (action == np.floor(action))).all())


class Distinct:
    """The distinct actions of episodes, as long as they may be discrete."""

    def __init__(self) -> None:
        self._rows: NDArray[np.float32] | None = np.zeros((0, 0), np.float32)

    def add(self, action: NDArray[np.float32]) -> None:
        """Actions [n, act] of an episode."""
        if self._rows is not None:
            rows = np.unique(np.concatenate([self._rows.reshape(-1, action.shape[1]), action]), axis=0)
            self._rows = rows if len(rows) == 1 or seem_discrete(rows) else None

    def said(self) -> None:
        """Somebody says what actions there are."""
        self._rows = None

    def remark(self, where: str) -> str | None:
        """What to tell of them, if anything."""
        if self._rows is None or not seem_discrete(self._rows):
            return None
        return seeming(where, self._rows.shape[1], float(self._rows.max()))


def seeming(where: str, entries: int, highest: float) -> str:
    """What to tell of actions that may be discrete.

    Args:
        where: how to name them.
        entries: of an action.
        highest: value of all entries.
    """
    count = entries if entries > 1 else int(highest) + 1
    one = "0 or 1" if count == 2 else f"a whole number from 0 to {count - 1}"
    kind = one if entries == 1 else f"one 1 among {entries} entries"
    return (
        f"{where}: every action is {kind}: read as numbers of a Box; if there are {count} discrete actions, "
        f"say so (--discrete-actions {count}; in Python action_bounds={count})"
    )


def one_hot_rows(array: NDArray[Any]) -> NDArray[np.bool_]:
    """[N] which rows of an array [N, n] hold one 1, and else 0."""
    return np.asarray(((array == 0) | (array == 1)).all(axis=1) & (array.sum(axis=1) == 1), np.bool_)
