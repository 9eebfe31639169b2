"""From the layout of the published SPC datasets: one torch tensor per task.

A file holds a float32 tensor of rows [s, a, r, s', terminated]: 2 obs + act + 2 columns. Neither the ends of
episodes nor seeds nor behaviours are recorded. An episode ends after a row that is terminated, whose s' is
not the s of the next row, or that is the last one the family's horizon allows. Only in the last case it was
truncated by the time limit; where it just breaks off, neither flag is set.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clwm_data.convert.target import write_converted
from clwm_data.errors import ClwmError
from clwm_data.extras import require
from clwm_data.families import Task, TaskFamily, get_family
from clwm_data.store.arrays import Episode, TaskArrays
from clwm_data.store.digest import file_sha256, json_sha256
from clwm_data.store.reader import Store

SUFFIXES = (".pt", ".pth")


def from_tensors(
    source: Path | str, target: Path | str, family: str, tasks: Collection[int] | None = None
) -> Store:
    """Make a store of a folder of tensors.

    Args:
        source: folder of ``.pt`` or ``.pth`` files; the last number in a file's name is its task.
        target: folder of the store.
        family: task family, whose sizes, horizon, splits and parameters hold.
        tasks: only these.

    Raises:
        ClwmError: no such family or files, a tensor of another shape or type, or values out of range.
    """
    known = get_family(family)
    files = _files(Path(source))
    for index in tasks or ():
        if index not in files:
            raise ClwmError(f"{source}: has no file of task {index}")
    files = {index: file for index, file in files.items() if tasks is None or index in tasks}

    def converted() -> Iterator[tuple[Task, str, TaskArrays]]:
        for index, file in files.items():
            yield known.task(index), "unknown", TaskArrays.from_episodes(_episodes(known, file))

    digest = json_sha256({str(index): file_sha256(file) for index, file in files.items()})
    options = {"from": "tensors", "episode ends": f"inferred, horizon {known.horizon}"}
    return write_converted(Path(target), family, converted(), Path(source).name, digest, options)


def episode_lengths(
    observation: NDArray[np.float32],
    next_observation: NDArray[np.float32],
    terminated: NDArray[np.bool_],
    horizon: int,
) -> NDArray[np.int64]:
    """[E] lengths of the episodes that rows lie in; see the module's docstring.

    Args:
        observation: [N > 0, obs] s.
        next_observation: [N, obs] s'.
        terminated: [N].
        horizon: most rows of an episode.
    """
    ends = terminated.copy()
    ends[:-1] |= (next_observation[:-1] != observation[1:]).any(axis=1)
    ends[-1] = True
    last = np.flatnonzero(ends)
    runs = np.diff(last, prepend=-1)
    pieces = [[horizon] * (run // horizon) + [run % horizon] * (run % horizon > 0) for run in runs.tolist()]
    return np.array([length for piece in pieces for length in piece], np.int64)


def _files(folder: Path) -> dict[int, Path]:
    """Task -> file, ascending."""
    if not folder.is_dir():
        raise ClwmError(f"{folder}: is not a folder of tensors, one file per task")
    files: dict[int, Path] = {}
    for file in sorted(folder.iterdir()):
        if file.suffix not in SUFFIXES:
            continue
        numbers = re.findall(r"\d+", file.stem)
        if not numbers:
            raise ClwmError(f"{file}: its name has no number, which would tell its task: rename it")
        if int(numbers[-1]) in files:
            raise ClwmError(
                f"{file}: is of task {numbers[-1]}, as {files[int(numbers[-1])].name} is: rename one"
            )
        files[int(numbers[-1])] = file
    if not files:
        raise ClwmError(f"{folder}: holds no {' or '.join(SUFFIXES)} files")
    return dict(sorted(files.items()))


def _episodes(family: TaskFamily, file: Path) -> list[Episode]:
    rows = _rows(family, file)
    obs, act = family.observation_size, family.action_size
    observation, action, reward, next_observation, terminated = np.split(
        rows, np.cumsum([obs, act, 1, obs]), axis=1
    )
    for name, good, expected in (
        ("action", np.abs(action) <= 1.0, "within [-1, 1]"),
        ("terminated", (terminated == 0.0) | (terminated == 1.0), "0 or 1"),
        ("value", np.isfinite(rows), "finite"),
    ):
        if not good.all():
            row = int(np.argmin(good.all(axis=1)))
            raise ClwmError(f"{file}: row {row}: {name} is not {expected}")
    done = terminated[:, 0] == 1.0
    lengths = episode_lengths(observation, next_observation, done, family.horizon)
    episodes = []
    for end, length in zip(np.cumsum(lengths).tolist(), lengths.tolist(), strict=True):
        part = slice(end - length, end)
        last = np.arange(length) == length - 1
        episodes.append(
            Episode(
                observation=np.vstack([observation[part], next_observation[end - 1]]),
                action=action[part],
                reward=reward[part, 0],
                terminated=done[part],
                truncated=last & (length == family.horizon) & ~done[part],
                success=None,
                initial_state=None,
                seed=None,
                behaviour=0,
            )
        )
    return episodes


def _rows(family: TaskFamily, file: Path) -> NDArray[np.float32]:
    torch = require("torch", "train", "reading torch tensors")
    try:
        tensor = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged or a hostile file: errors of many types
        reason = " ".join(str(error).split())[:200]
        raise ClwmError(f"{file}: cannot be read as a plain tensor: {reason}") from error
    width = 2 * family.observation_size + family.action_size + 2
    if not isinstance(tensor, torch.Tensor) or tensor.dtype != torch.float32 or tensor.ndim != 2:
        raise ClwmError(f"{file}: expected one float32 tensor of rows [s, a, r, s', terminated]")
    if tensor.shape[0] == 0 or tensor.shape[1] != width:
        raise ClwmError(
            f"{file}: has shape {list(tensor.shape)}; {family.name} needs rows of {width} columns: "
            "is it of another family?"
        )
    rows: NDArray[np.float32] = tensor.contiguous().numpy()
    return rows
