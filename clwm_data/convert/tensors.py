"""From and to the layout of the published SPC datasets: one torch tensor per task.

A file holds a float32 tensor of rows [s, a, r, s', terminated]: 2 obs + act + 2 columns. Neither the ends of
episodes nor seeds nor behaviours are recorded. An episode ends after a row that is terminated, whose s' is
not the s of the next row, or that is the last one the family's horizon allows. Only in the last case was it
truncated by the time limit; where the rows merely do not connect, neither flag is set.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Collection, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clwm_data.convert.source import (
    ForeignTask,
    RawEpisode,
    Source,
    digest_of,
    reading,
    refuse_bomb,
    regular,
)
from clwm_data.convert.target import Conversion, write_converted
from clwm_data.edit.building import building
from clwm_data.errors import DamagedDataError, InvalidInputError, NotFoundError
from clwm_data.extras import require
from clwm_data.families import TaskFamily
from clwm_data.families.declared.reading import find_family
from clwm_data.opening import open_store
from clwm_data.progress import ProgressCallback
from clwm_data.store.arrays import TaskArrays
from clwm_data.store.litter import is_litter
from clwm_data.store.reader import Store

SUFFIXES = (".pt", ".pth")


def from_tensors(
    source: Path | str,
    target: Path | str,
    family: str,
    tasks: Collection[int] | None = None,
    *,
    on_progress: ProgressCallback | None = None,
) -> Conversion:
    """Make a store of a folder of tensors.

    Args:
        source: folder of ``.pt`` or ``.pth`` files; the last number in a file's name is its task.
        target: folder of the store.
        family: task family, or the path of a YAML file that declares it; it gives sizes, horizon, splits and
            parameters.
        tasks: only these.
        on_progress: called after each task.

    Raises:
        NotFoundError: no such family, files or tasks.
        InvalidInputError: a tensor of another shape or type, or values out of range.
        DamagedDataError: a file that is not a plain tensor.
        ConflictError: ``target`` is there already.
    """
    known = find_family(family)
    files = _files(Path(source))
    foreign = Source(
        name=Path(source).resolve().name,
        tasks={
            index: ForeignTask(file.name, lambda file=file: _episodes(known, file))  # type: ignore[misc]
            for index, file in files.items()
        },
        sha256=digest_of({str(index): file for index, file in files.items()}),
        options={"from": "tensors", "episode ends": f"inferred, horizon {known.horizon}"},
    )
    return write_converted(foreign, target, family, tasks=tasks, on_progress=on_progress)


def to_tensors(
    source: Path | str | Store, target: Path | str, *, on_progress: ProgressCallback | None = None
) -> list[Path]:
    """Write every task of a store as ``task-0007.pt``: a float32 tensor of rows [s, a, r, s', terminated].

    This is how public code for offline meta-RL reads its data. Time limits, seeds and behaviours are lost.

    Args:
        source: the store.
        target: folder of the files, which must not exist yet.
        on_progress: called after each task.

    Raises:
        NotFoundError: no such store.
        ConflictError: ``target`` is there already.
        DamagedDataError: the store is damaged.
        MissingExtraError: torch is not installed.
    """
    torch = require("torch", "train", "writing torch tensors")
    store, names = open_store(source), []
    with building(target) as aside:
        for done, (index, task) in enumerate(store.tasks.items()):
            if on_progress is not None:
                on_progress(done, len(store.tasks))
            names.append(f"task-{index:04d}.pt")
            torch.save(torch.from_numpy(transition_rows(task.load(verify=True))), aside / names[-1])
        if on_progress is not None:
            on_progress(len(store.tasks), len(store.tasks))
    return [Path(target) / name for name in names]


def transition_rows(arrays: TaskArrays) -> NDArray[np.float32]:
    """[N, 2 obs + act + 2] rows [s, a, r, s', terminated]."""
    row = arrays.observation_row()
    columns = (
        arrays.observation[row],
        arrays.action,
        arrays.reward[:, None],
        arrays.observation[row + 1],
        arrays.terminated[:, None].astype(np.float32),
    )
    return np.hstack(columns)


def episode_lengths(
    observation: NDArray[np.float32],
    next_observation: NDArray[np.float32],
    terminated: NDArray[np.bool_],
    horizon: int,
) -> NDArray[np.int64]:
    """[E] lengths of the episodes that the rows belong to; see the module's docstring.

    Args:
        observation: [N > 0, obs] s.
        next_observation: [N, obs] s'.
        terminated: [N].
        horizon: largest number of rows of an episode.
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
        raise NotFoundError(f"{folder}: is not a folder of tensors, one file per task")
    files: dict[int, Path] = {}
    for file in sorted(folder.iterdir()):
        if file.suffix not in SUFFIXES or is_litter(file):
            continue
        numbers = re.findall(r"\d+", file.stem)
        if not numbers:
            raise InvalidInputError(f"{file}: its name has no number, which would tell its task: rename it")
        if int(numbers[-1]) in files:
            raise InvalidInputError(
                f"{file}: is of task {numbers[-1]}, like {files[int(numbers[-1])].name}: rename one"
            )
        files[int(numbers[-1])] = regular(file)
    if not files:
        raise NotFoundError(f"{folder}: holds no {' or '.join(SUFFIXES)} files")
    return dict(sorted(files.items()))


def _episodes(family: TaskFamily, file: Path) -> Iterator[RawEpisode]:
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
            raise InvalidInputError(f"{file}: row {row}: {name} is not {expected}")
    done = terminated[:, 0] == 1.0
    lengths = episode_lengths(observation, next_observation, done, family.horizon)
    for end, length in zip(np.cumsum(lengths).tolist(), lengths.tolist(), strict=True):
        part = slice(end - length, end)
        last = np.arange(length) == length - 1
        yield RawEpisode(
            observation=np.vstack([observation[part], next_observation[end - 1]]),
            action=action[part],
            reward=reward[part, 0],
            terminated=done[part],
            truncated=last & (length == family.horizon) & ~done[part],
        )


def _rows(family: TaskFamily, file: Path) -> NDArray[np.float32]:
    torch = require("torch", "train", "reading torch tensors")
    if zipfile.is_zipfile(file):
        with reading(file), zipfile.ZipFile(file) as archive:
            refuse_bomb(file, sum(info.file_size for info in archive.infolist()), file.stat().st_size)
    try:
        tensor = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged or a hostile file: errors of many types
        reason = " ".join(str(error).split())[:200]
        raise DamagedDataError(f"{file}: cannot be read as a plain tensor: {reason}") from error
    if isinstance(tensor, torch.Tensor) and tensor.untyped_storage().nbytes() < 4 * tensor.numel():
        raise InvalidInputError(f"{file}: is an expanded tensor, larger than the file: save a contiguous one")
    width = 2 * family.observation_size + family.action_size + 2
    if not isinstance(tensor, torch.Tensor) or tensor.dtype != torch.float32 or tensor.ndim != 2:
        raise InvalidInputError(f"{file}: expected one float32 tensor of rows [s, a, r, s', terminated]")
    if tensor.shape[0] == 0 or tensor.shape[1] != width:
        raise InvalidInputError(
            f"{file}: has shape {list(tensor.shape)}; {family.name} needs rows of {width} columns: "
            "is it of another family?"
        )
    rows: NDArray[np.float32] = tensor.contiguous().numpy()
    return rows
