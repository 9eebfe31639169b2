"""Cutting flat arrays, one row per step as in D4RL and many other formats, into episodes.

An episode ends after a row that is terminated or truncated, and where the next observation is not the
observation of the next row. Where next observations are not recorded, the observation after an episode's last
step is unknown: the step is dropped, unless it is terminated. Then the next observation does not matter for
learning, and the last one is repeated.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clwm_data.convert.source import RawEpisode, plain_text
from clwm_data.errors import InvalidInputError

#: Name of a column here -> its names in other formats.
SPELLINGS = {
    "observation": ("observations", "observation", "obs", "states"),
    "action": ("actions", "action"),
    "reward": ("rewards", "reward"),
    "next_observation": ("next_observations", "next_observation", "next_obs"),
    "terminated": ("terminals", "terminated", "terminations", "dones"),
    "truncated": ("timeouts", "truncated", "truncations"),
    "success": ("success", "successes"),
    "dense_reward": ("dense_reward", "dense_rewards"),
}
REQUIRED = ("observation", "action", "reward")


def find_columns(names: Mapping[str, object], where: str) -> dict[str, str]:
    """Name of a column here -> its name in the source.

    Raises:
        InvalidInputError: observations, actions or rewards are missing.
    """
    columns = {
        column: next(name for name in spellings if name in names)
        for column, spellings in SPELLINGS.items()
        if any(name in names for name in spellings)
    }
    for column in REQUIRED:
        if column not in columns:
            present = ", ".join(sorted(names)[:20]) or "nothing"
            raise InvalidInputError(
                f"{where}: has no {SPELLINGS[column][0]}; it has: {present} (expected: one row per step)"
            )
    return columns


def flat_episodes(
    arrays: Mapping[str, NDArray[Any]], columns: Mapping[str, str], where: str
) -> Iterator[RawEpisode]:
    """The episodes of flat arrays.

    Args:
        arrays: [N, ...] by the source's names.
        columns: as :func:`find_columns` gives them.
        where: how to name the source in messages.

    Raises:
        InvalidInputError: arrays of different length, no rows, or flags that are neither 0 nor 1.
    """
    parts = {column: np.asarray(arrays[name]) for column, name in columns.items()}
    rows = len(parts["action"]) if parts["action"].ndim else 0
    for column, array in parts.items():
        if array.ndim == 0 or len(array) != rows or rows == 0:
            count = len(array) if array.ndim else "no"
            raise InvalidInputError(
                f"{where}: {columns[column]} has {count} rows, {columns['action']} has {rows}: "
                "expected one row per step, and at least one"
            )
    terminated, truncated = (
        _flags(parts.get(name), rows, f"{where}: {columns.get(name)}") for name in ("terminated", "truncated")
    )
    if columns.get("terminated") == "dones":
        terminated &= ~truncated  # often set at the end of an episode, for whatever reason
    following = parts.get("next_observation")
    if following is not None and following.shape != parts["observation"].shape:
        raise InvalidInputError(
            f"{where}: {columns['next_observation']} has shape {list(following.shape)}, "
            f"{columns['observation']} {list(parts['observation'].shape)}: they must be alike"
        )
    ends = terminated | truncated
    if following is not None:
        differs = following[:-1] != parts["observation"][1:]
        ends[:-1] |= differs.any(axis=tuple(range(1, differs.ndim)))
    ends[-1] = True
    start = 0
    for last in np.flatnonzero(ends).tolist():
        if following is None and not terminated[last]:
            stop, after = last, parts["observation"][last]
        else:
            stop = last + 1
            after = parts["observation"][last] if following is None else following[last]
        if stop > start:
            steps = slice(start, stop)
            yield RawEpisode(
                observation=np.concatenate([parts["observation"][steps], after[None]]),
                action=parts["action"][steps],
                reward=parts["reward"][steps],
                terminated=terminated[steps],
                truncated=truncated[steps],
                success=None if "success" not in parts else parts["success"][steps],
                dense_reward=None if "dense_reward" not in parts else parts["dense_reward"][steps],
            )
        start = last + 1


def last_observations(columns: Mapping[str, str]) -> str:
    """How the store's record describes the observations after last steps."""
    if "next_observation" in columns:
        return "recorded"
    return "not recorded: last steps dropped unless terminated, there the last observation repeated"


def _flags(array: NDArray[Any] | None, rows: int, where: str) -> NDArray[np.bool_]:
    if array is None:
        return np.zeros(rows, np.bool_)
    if array.dtype.kind not in "biuf":
        raise InvalidInputError(f"{where}: holds {plain_text(array.dtype)}, expected 0 or 1")
    wrong = ~((array == 0) | (array == 1)).reshape(rows, -1).all(axis=1)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise InvalidInputError(f"{where}: row {row} is {plain_text(array[row])[:40]}, expected 0 or 1")
    return np.asarray(array.reshape(rows, -1).any(axis=1), np.bool_)
