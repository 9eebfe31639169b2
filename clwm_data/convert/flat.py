"""Cutting flat arrays, one row per step as in D4RL and many other formats, into episodes.

An episode ends after a row that is terminated, truncated or done, where the number of the episode changes,
and where the next observation is not the observation of the next row. Where next observations are not
recorded, the observation after an episode's last step is unknown: the step is dropped, unless it is
terminated. Then the next observation does not matter for learning, and the last one is repeated.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clwm_data.convert.source import RawEpisode, plain_text
from clwm_data.errors import InvalidInputError

#: Name of a column here -> its names in other formats; of several that are there, the first counts.
SPELLINGS = {
    "observation": ("observations", "observation", "obs", "states", "state"),
    "action": ("actions", "action", "acts", "act"),
    "reward": ("rewards", "reward"),
    "next_observation": (
        *("next_observations", "next_observation", "next_obs"),
        *("next_states", "next_state"),
    ),
    "terminated": ("terminals", "terminal", "terminated", "terminations", "termination"),
    "done": ("dones", "done"),
    "truncated": ("timeouts", "timeout", "truncated", "truncations", "truncation"),
    "success": ("success", "successes"),
    "dense_reward": ("dense_reward", "dense_rewards"),
    "episode": ("episode", "episode_id", "episode_index"),
}
#: Columns that are set where an episode ends, for whatever reason.
DONE = SPELLINGS["done"]
#: Columns that tell where episodes end.
ENDS = ("terminated", "truncated", "next_observation", "episode")
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
    if "done" in columns and "terminated" not in columns:
        columns["terminated"] = columns.pop("done")
    for column in REQUIRED:
        if column not in columns:
            present = ", ".join(sorted(names)[:20]) or "nothing"
            raise InvalidInputError(
                f"{where}: has no {SPELLINGS[column][0]}; it has: {present} (expected: one row per step)"
            )
    return columns


def flat_episodes(
    arrays: Mapping[str, NDArray[Any]],
    columns: Mapping[str, str],
    where: str,
    begins: Collection[int] = (),
) -> Iterator[RawEpisode]:
    """The episodes of flat arrays.

    Args:
        arrays: [N, ...] by the source's names.
        columns: as :func:`find_columns` gives them.
        where: how to name the source in messages.
        begins: rows other than the first with which an episode begins, whatever the arrays say.

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
    terminated, truncated, done = (
        _flags(parts.get(name), rows, f"{where}: {columns.get(name)}")
        for name in ("terminated", "truncated", "done")
    )
    truncated |= done & ~terminated
    if columns.get("terminated") in DONE:
        terminated &= ~truncated
    following = parts.get("next_observation")
    if following is not None and following.shape != parts["observation"].shape:
        raise InvalidInputError(
            f"{where}: {columns['next_observation']} has shape {list(following.shape)}, "
            f"{columns['observation']} {list(parts['observation'].shape)}: they must be alike"
        )
    ends = terminated | truncated
    if following is not None:
        ends[:-1] |= _differ(following[:-1], parts["observation"][1:])
    if "episode" in parts:
        number = _numbers(parts["episode"], rows, f"{where}: {columns['episode']}")
        ends[:-1] |= number[1:] != number[:-1]
    ends[[row - 1 for row in begins]] = True
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


def left_out(names: Collection[str], columns: Mapping[str, str], known: Collection[str] = ()) -> set[str]:
    """Those of a source's names that hold nothing that is read."""
    return {plain_text(name) for name in {*names} - {*columns.values()} - {*known}}


def remarks(
    where: object,
    columns: Collection[Mapping[str, str]],
    left_out: Collection[str],
    *,
    worded: Sequence[Path] = (),
    whole: bool = False,
) -> tuple[str, ...]:
    """What the user should know of how flat arrays are read.

    Args:
        where: how to name the source.
        columns: of each of its files.
        left_out: names of what is not read.
        worded: those of its files whose array ``task`` does not number tasks.
        whole: each group of arrays is an episode.
    """
    lines = []
    if worded:
        lines.append(f"{worded[0]}: its column task holds no whole numbers: the file is read as one task")
    if names := sorted({*left_out} - ({"task"} if worded else set())):
        more = f" and {len(names) - 20} more" if len(names) > 20 else ""
        lines.append(f"{where}: not read: {', '.join(names[:20])}{more}")
    done = {names["terminated"] for names in columns if "truncated" not in names and "terminated" in names}
    for name in sorted(done & {*DONE}):
        lines.append(
            f"{where}: {name} does not tell time limits from terminations: each counts as a termination, "
            "after which nothing is earned (arrays terminals and timeouts would tell them apart)"
        )
    if not whole and any(not {*ENDS} & {*names} for names in columns):
        lines.append(
            f"{where}: nothing says where episodes end: a file without terminals, timeouts, "
            "next_observations and episode is read as one episode"
        )
    return tuple(lines)


def last_observations(columns: Mapping[str, str]) -> str:
    """How the store's record describes the observations after last steps."""
    if "next_observation" in columns:
        return "recorded"
    return "not recorded: last steps dropped unless terminated, there the last observation repeated"


def _differ(following: NDArray[Any], observation: NDArray[Any]) -> NDArray[np.bool_]:
    """[N] whether rows differ, by more than the rounding of the less precise of the two arrays."""
    kinds = [following.dtype, observation.dtype]
    if all(kind.kind == "f" for kind in kinds):
        coarse = min(kinds, key=lambda kind: kind.itemsize)
        with np.errstate(over="ignore"):
            following, observation = following.astype(coarse), observation.astype(coarse)
    differs = following != observation
    return np.asarray(differs.any(axis=tuple(range(1, differs.ndim))), np.bool_)


def _numbers(array: NDArray[Any], rows: int, where: str) -> NDArray[Any]:
    """[N] of a column [N] or [N, 1]."""
    if array.size != rows:
        raise InvalidInputError(f"{where}: has shape {list(array.shape)}, expected one number per row")
    return array.reshape(rows)


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
