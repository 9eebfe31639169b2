"""What a foreign format has to provide to become a store: named tasks with their episodes.

Each format is a module beside this one, with a function that returns a :class:`Source`. It only reads: its
episodes are checked in one place, :mod:`clwm_data.convert.border`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clwm_data.convert.tables import TaskTable
from clwm_data.errors import ClwmError, DamagedDataError, InvalidInputError, NotFoundError
from clwm_data.memory import TooLargeError, available_memory
from clwm_data.pages.numbers import plural
from clwm_data.ranges import format_indices
from clwm_data.store.digest import file_sha256, json_sha256
from clwm_data.store.litter import is_litter

#: Largest ratio that Deflate can reach: data that claims more is not in the file.
MAX_COMPRESSION = 1100
#: Above all indices, and all counts.
LARGEST_NUMBER = 10**9


@dataclass(frozen=True)
class RawEpisode:
    """An episode of n steps as its source has it, types and shapes unchecked.

    Attributes:
        observation: [n + 1, obs], the one after the last step included.
        action: [n, act], or the numbers [n] of discrete actions.
        reward: [n].
        terminated: [n].
        truncated: [n]; ``None`` if it was not recorded.
        success: [n], or ``None``.
        dense_reward: [n], recorded beside a sparse reward, or ``None``.
    """

    observation: ArrayLike
    action: ArrayLike
    reward: ArrayLike
    terminated: ArrayLike
    truncated: ArrayLike | None = None
    success: ArrayLike | None = None
    dense_reward: ArrayLike | None = None


@dataclass(frozen=True)
class ForeignTask:
    """A task of a source.

    Attributes:
        name: of the file, dataset or group that it comes from, for messages.
        episodes: reads its episodes, one after another.
        policy: name of the policy that acted.
        action_bounds: lowest and highest value of each action entry, or of all, which become -1 and 1;
            ``None``: actions are in [-1, 1] already; a number: how many discrete actions there are, whose
            numbers, from 0, the episodes hold.
    """

    name: str
    episodes: Callable[[], Iterator[RawEpisode]]
    policy: str = "unknown"
    action_bounds: tuple[Sequence[float], Sequence[float]] | int | None = None


@dataclass(frozen=True)
class Source:
    """Foreign data, ready to be read.

    Attributes:
        name: of the data.
        tasks: task index -> task.
        sha256: digest of the files.
        options: how it is converted, for the store's record.
        description: what the data is.
        authors: of the data.
        table: splits and parameters of the tasks, if the data has them.
        remarks: what the user should know of how the data is read, a line each.
        of_actions: the same of how actions are read where neither user nor family says so.
    """

    name: str
    tasks: Mapping[int, ForeignTask]
    sha256: str
    options: Mapping[str, str]
    description: str = ""
    authors: Sequence[str] = ()
    table: TaskTable | None = None
    remarks: Sequence[str] = ()
    of_actions: Sequence[str] = ()

    def with_action_bounds(self, bounds: Sequence[tuple[float, float]]) -> Source:
        """The same data, with actions scaled from the lowest and highest value of each entry, or of all."""
        low, high = ([pair[end] for pair in bounds] for end in (0, 1))
        tasks = {index: replace(task, action_bounds=(low, high)) for index, task in self.tasks.items()}
        listed = "; ".join(f"{lowest:g} to {highest:g}" for lowest, highest in bounds)
        options = {**self.options, "actions": f"scaled to [-1, 1] from {listed}"}
        return replace(self, tasks=tasks, options=options, of_actions=())

    def with_discrete_actions(self, count: int) -> Source:
        """The same data, whose actions are the numbers of ``count`` discrete actions."""
        tasks = {index: replace(task, action_bounds=count) for index, task in self.tasks.items()}
        options = {**self.options, "actions": f"numbers of {count} discrete actions"}
        return replace(self, tasks=tasks, options=options, of_actions=())


def natural_key(name: str | Path) -> list[tuple[int, int, str]]:
    """Key of the natural order: ``t2`` before ``t10``."""
    parts = re.split(r"(\d+)", str(name))
    return [(1, int(part), "") if part.isdecimal() else (0, 0, part) for part in parts if part]


def files_below(folder: Path, suffixes: Collection[str], what: str = "") -> list[Path]:
    """Files with one of the suffixes in a folder or below, links followed, in natural order.

    For a file instead of a folder, the file alone. ``what`` says in messages what is looked for.

    Raises:
        NotFoundError: there is no such file.
    """
    if folder.is_file():
        return [folder]
    files: list[Path] = []
    seen: set[str] = set()
    for current, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(current)
        folders[:] = [] if real in seen else [name for name in folders if not is_litter(Path(name))]
        if real not in seen:
            paths = (Path(current) / name for name in names)
            files += [regular(path) for path in paths if path.suffix in suffixes and not is_litter(path)]
        seen.add(real)
    if not files:
        sought = what or f"file {' or '.join(sorted(suffixes))}"
        raise NotFoundError(f"{folder}: {f'holds no {sought}' if folder.exists() else 'does not exist'}")
    return sorted(files, key=lambda path: natural_key(path.relative_to(folder)))


def regular(path: Path) -> Path:
    """The same path of a file, which a library may open without waiting for a pipe.

    Raises:
        InvalidInputError: it is a broken link, a pipe, a device or a folder.
    """
    if not path.is_file():
        raise InvalidInputError(f"{path}: is not a file that can be read (a broken link, a pipe): remove it")
    return path


def whole_numbers(where: str, values: ArrayLike, rows: int | None = None) -> NDArray[np.int64]:
    """A column of indices or counts, [N].

    Args:
        where: how to name it in messages.
        values: as the source has them.
        rows: N; by default any.

    Raises:
        InvalidInputError: another shape, or anything but whole numbers from 0.
    """
    array = np.asarray(values)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1 or rows not in (None, len(array)):
        expected = "one number per row" if rows is None else f"[{rows}]"
        raise InvalidInputError(f"{where}: has shape {list(array.shape)}, expected {expected}")
    if array.dtype.kind not in "iuf":
        raise InvalidInputError(f"{where}: holds {plain_text(array.dtype)}, not whole numbers from 0")
    wrong = ~((array >= 0) & (array < LARGEST_NUMBER) & (array == np.floor(array)))
    if wrong.any():
        row = int(np.argmax(wrong))
        expected = f"a whole number from 0 to {LARGEST_NUMBER - 1}"
        raise InvalidInputError(f"{where}: row {row} is {array[row]}, expected {expected}")
    return array.astype(np.int64)


def refuse_bomb(where: object, decoded: int, stored: int) -> None:
    """Refuse data that claims more than Deflate could have packed, or than fits into memory, unread.

    Args:
        where: how to name it in messages.
        decoded: bytes that it claims.
        stored: bytes that hold it.

    Raises:
        InvalidInputError: see above.
        TooLargeError: it does not fit into the memory that this process may use.
    """
    if decoded > 2**20 and decoded > MAX_COMPRESSION * stored:
        raise InvalidInputError(f"{where}: claims {decoded} bytes, the file holds {stored}")
    if decoded > available_memory():
        raise TooLargeError(f"{where}: decodes to {decoded} bytes, more than this process may use")


def digest_of(files: Mapping[str, Path]) -> str:
    """Digest of files and their names."""
    return json_sha256({name: file_sha256(path) for name, path in files.items()})


def plain_text(text: object) -> str:
    """Foreign text without control characters, which could manipulate terminals."""
    return re.sub(r"[\x00-\x1f\x7f-\x9f]+", " ", str(text)).strip()


@contextmanager
def reading(name: str | Path) -> Iterator[None]:
    """A block that parses a foreign file: whatever the library raises becomes one line that names the file.

    Raises:
        DamagedDataError: it cannot be read.
    """
    try:
        yield
    except (ClwmError, MemoryError):
        raise
    except Exception as error:
        reason = plain_text(error)[:200] or type(error).__name__
        raise DamagedDataError(f"{name}: cannot be read: {reason}") from error


def task_indices(names: Sequence[object], tasks: Collection[int] | None, source: object) -> list[int]:
    """The task of each dataset: 0, 1, 2, ... unless ``tasks`` are given.

    Raises:
        NotFoundError: there are more or fewer datasets than tasks.
    """
    if tasks is not None and len(tasks) != len(names):
        raise NotFoundError(
            f"{source}: holds {plural(len(names), 'dataset')}, but --tasks names {plural(len(tasks), 'task')}"
        )
    return list(range(len(names)) if tasks is None else tasks)


def chosen_indices(present: Collection[int], tasks: Collection[int] | None, source: object) -> list[int]:
    """Those of the tasks in a source that are wanted, ascending.

    Raises:
        NotFoundError: the source does not have one.
    """
    if missing := sorted(set(tasks or ()) - set(present)):
        raise NotFoundError(
            f"{source}: has no task {format_indices(missing)}; it has {format_indices(present)}"
        )
    return sorted(present if tasks is None else set(tasks))
