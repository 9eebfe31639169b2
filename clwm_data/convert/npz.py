"""From and to ``.npz`` files of flat arrays.

A file that :func:`to_npz` wrote holds several tasks, with the task and episode of every row. A file without
such numbers is one task.
"""

from __future__ import annotations

import zipfile
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from clwm_data.convert.flat import find_columns, flat_episodes, last_observations, left_out, remarks
from clwm_data.convert.source import (
    ForeignTask,
    RawEpisode,
    Source,
    chosen_indices,
    digest_of,
    files_below,
    reading,
    refuse_bomb,
    task_indices,
    whole_numbers,
)
from clwm_data.convert.tables import SPLITS, TaskTable
from clwm_data.disk import disk_errors
from clwm_data.errors import ConflictError, DamagedDataError, InvalidInputError
from clwm_data.families.base import Parameters, Split
from clwm_data.opening import open_store
from clwm_data.pages.numbers import plural
from clwm_data.paths import target_path
from clwm_data.store.atomic import replacing
from clwm_data.store.reader import Store

PARAMETER = "parameter_"
#: Arrays that describe the tasks of a file of several.
TABLE = ("task", "task_index", "task_split", "discrete_actions")


class _Header(NamedTuple):
    """What a file says of one of its arrays."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]


def to_npz(source: Path | str | Store, target: Path | str) -> Path:
    """Write all transitions of a store as flat arrays, which have to fit into memory.

    It holds the arrays of :meth:`clwm_data.store.Store.to_arrays`, and for its K tasks ``task_index`` [K],
    ``task_split`` [K], ``discrete_actions`` (their number, where they are) and every parameter as
    ``parameter_<name>`` [K, ...] (NaN where a task has none).

    Raises:
        NotFoundError: no such store.
        ConflictError: ``target`` is there already.
        InvalidInputError: a parameter's numbers are not as many in all tasks.
        UnavailableError: the disk is full, or write-protected.
    """
    store, place = open_store(source), target_path(target)
    if place.exists():
        raise ConflictError(f"{target}: is there already: choose another name, or remove it first")
    arrays: dict[str, Any] = store.to_arrays()
    arrays["task_index"] = np.array(list(store.tasks), np.int64)
    arrays["task_split"] = np.array([task.split for task in store.tasks.values()])
    if (count := next(iter(store)).record.discrete_actions) is not None:
        arrays["discrete_actions"] = np.array(count)
    names = {name for task in store.tasks.values() for name in task.parameters}
    for name in sorted(names):
        values = [task.parameters.get(name) for task in store.tasks.values()]
        if len({np.shape(value) for value in values if value is not None}) > 1:
            raise InvalidInputError(
                f"{store.path}: parameter {name} has more numbers in some tasks than in others, which npz "
                "has no place for: --to minari keeps them"
            )
        missing = np.full_like(next(np.asarray(value) for value in values if value is not None), np.nan)
        arrays[f"{PARAMETER}{name}"] = np.array([missing if value is None else value for value in values])
    with disk_errors(place, "nothing was changed"):
        place.parent.mkdir(parents=True, exist_ok=True)
        with replacing(place) as temporary, temporary.open("wb") as stream:
            np.savez(stream, **arrays)
    return Path(target)


def npz_source(path: Path | str, tasks: Collection[int] | None = None) -> Source:
    """``.npz`` files as tasks.

    Args:
        path: a file, or a folder of files in natural order.
        tasks: task of each file; 0, 1, 2, ... by default. For a file of several tasks: only these.

    Raises:
        NotFoundError: there is no such file.
        InvalidInputError: a file has no flat arrays.
        DamagedDataError: a file cannot be read.
    """
    files = files_below(Path(path), (".npz",))
    headers = [_headers(file) for file in files]
    columns = [find_columns(header, str(file)) for file, header in zip(files, headers, strict=True)]
    for file, header, names in zip(files, headers, columns, strict=True):
        _refuse_objects(file, header, names.values())
    options = {
        "from": "npz",
        "observations after last steps": "; ".join(sorted({last_observations(names) for names in columns})),
    }
    name = Path(path).resolve().name
    unread = {n for header, names in zip(headers, columns, strict=True) for n in left_out(header, names)}
    if all(map(_names_tasks, headers)):
        parts = [
            _Part(file, names, _several(file, names, header))
            for file, header, names in zip(files, headers, columns, strict=True)
        ]
        present = np.unique(np.concatenate([part.arrays["task"] for part in parts])).tolist()
        return Source(
            name=name,
            tasks={index: _task_of_several(parts, index) for index in chosen_indices(present, tasks, path)},
            sha256=digest_of({name: files[0]} if len(files) == 1 else _relative(files, Path(path))),
            options=options,
            table=_joined([(part.file, _table(part.arrays, part.file)) for part in parts]),
            remarks=remarks(
                path, columns, {n for n in unread if n not in TABLE and not n.startswith(PARAMETER)}
            ),
        )
    indices = task_indices(files, tasks, path)
    worded = [
        file
        for file, header in zip(files, headers, strict=True)
        if "task" in header and not _names_tasks(header)
    ]
    return Source(
        name=name,
        tasks={
            index: ForeignTask(
                file.name,
                lambda file=file, names=names: flat_episodes(  # type: ignore[misc]
                    _read(file, names.values()), names, str(file)
                ),
            )
            for index, file, names in zip(indices, files, columns, strict=True)
        },
        sha256=digest_of({str(index): file for index, file in zip(indices, files, strict=True)}),
        options=options,
        remarks=remarks(path, columns, unread, worded=worded),
    )


class _Part(NamedTuple):
    """A file of several tasks."""

    file: Path
    columns: Mapping[str, str]
    arrays: Mapping[str, NDArray[Any]]


def _relative(files: Collection[Path], folder: Path) -> dict[str, Path]:
    return {file.relative_to(folder).as_posix(): file for file in files}


def _task_of_several(parts: Collection[_Part], index: int) -> ForeignTask:
    """A task in one file of several tasks, or in more than one; no episode goes on in the next file."""
    holders = [part for part in parts if (part.arrays["task"] == index).any()]
    counts = {int(c[0]) for part in holders if (c := part.arrays.get("discrete_actions")) is not None}
    if len(counts) > 1:
        raise InvalidInputError(
            f"{holders[-1].file}: task {index}: files differ in their number of discrete actions"
        )
    return ForeignTask(
        f"{holders[0].file.name}: task {index}",
        lambda: (episode for part in holders for episode in _rows_of(part.arrays, part.columns, index)),
        action_bounds=next(iter(counts), None),
    )


def _joined(tables: Collection[tuple[Path, TaskTable | None]]) -> TaskTable | None:
    """What all files say of their tasks, in which they agree."""
    splits: dict[int, Split] = {}
    parameters: dict[int, Parameters] = {}
    for file, table in tables:
        if table is None or table.splits is None or table.parameters is None:
            continue
        for index, split in table.splits.items():
            numbers = table.parameters[index]
            if splits.setdefault(index, split) != split or parameters.setdefault(index, numbers) != numbers:
                raise InvalidInputError(
                    f"{file}: task {index} has another split, or other parameters, than in files before it"
                )
    return TaskTable(splits, parameters) if splits else None


def _names_tasks(header: Mapping[str, _Header]) -> bool:
    """Whether a file's rows are of several tasks, which an array tells apart."""
    return "task" in header and ("episode" in header or header["task"].dtype.kind in "iu")


def _several(
    file: Path, columns: Mapping[str, str], header: Mapping[str, _Header]
) -> dict[str, NDArray[Any]]:
    """The arrays of a file of several tasks, whose numbers agree."""
    plain = {n for n in header if n in TABLE or n.startswith(PARAMETER)}
    arrays = _read(file, {*columns.values(), *plain})
    arrays["task"] = whole_numbers(f"{file}: task", arrays["task"])
    rows = len(arrays["task"])
    if "episode" in arrays:
        arrays["episode"] = whole_numbers(f"{file}: episode", arrays["episode"], rows)
    for name in columns.values():
        if arrays[name].shape[:1] != (rows,):
            shape = list(arrays[name].shape)
            raise InvalidInputError(f"{file}: {name}: has shape {shape}, expected {plural(rows, 'row')}")
    if "discrete_actions" in arrays:
        count = arrays["discrete_actions"].reshape(-1)
        arrays["discrete_actions"] = whole_numbers(f"{file}: discrete_actions", count, 1)
    return arrays


def _rows_of(
    arrays: Mapping[str, NDArray[Any]], columns: Mapping[str, str], task: int
) -> Iterator[RawEpisode]:
    """The episodes of one task in a file of several."""
    rows = arrays["task"] == task
    yield from flat_episodes({n: arrays[n][rows] for n in columns.values()}, columns, f"task {task}")


def _table(arrays: Mapping[str, NDArray[Any]], file: Path) -> TaskTable | None:
    if "task_index" not in arrays or "task_split" not in arrays:
        return None
    indices = whole_numbers(f"{file}: task_index", arrays["task_index"]).tolist()
    names = [name for name in arrays if name.startswith(PARAMETER)]
    for name in ("task_split", *names):
        if arrays[name].shape[:1] != (len(indices),):
            shape = list(arrays[name].shape)
            raise InvalidInputError(f"{file}: {name}: has shape {shape}, expected an entry for each task")
        if name in names and (arrays[name].dtype.kind not in "biuf" or arrays[name].ndim > 2):
            raise InvalidInputError(f"{file}: {name}: does not hold numbers, or vectors of them")
    splits: dict[int, Split] = {}
    for index, name in zip(indices, arrays["task_split"].tolist(), strict=True):
        if name not in SPLITS:
            raise InvalidInputError(f"{file}: task_split holds {name!r}, not one of {', '.join(SPLITS)}")
        splits[index] = name
    parameters = {
        index: {
            name.removeprefix(PARAMETER): tuple(value) if isinstance(value, list) else float(value)
            for name in names
            if np.isfinite(value := arrays[name][row].tolist()).all()
        }
        for row, index in enumerate(indices)
    }
    return TaskTable(splits, parameters)


def _headers(file: Path) -> dict[str, _Header]:
    """Name of every array in a file -> its header, checked against the file's size.

    Raises:
        DamagedDataError: the file is not ``.npz``, or a header claims more than the file holds.
    """
    headers = {}
    with reading(file), zipfile.ZipFile(file) as archive:
        for info in archive.infolist():
            with archive.open(info) as stream:
                version = np.lib.format.read_magic(stream)
                read = (
                    np.lib.format.read_array_header_1_0
                    if version == (1, 0)
                    else np.lib.format.read_array_header_2_0
                )
                shape, _, dtype = read(stream)
            name = info.filename.removesuffix(".npy")
            headers[name] = _Header(shape, dtype)
            if dtype.hasobject:  # such arrays are pickles, which are never loaded
                continue
            claimed = int(np.prod(shape, dtype=object)) * dtype.itemsize
            if claimed > info.file_size:
                raise DamagedDataError(
                    f"{file}: {name}: claims {claimed} bytes, the file holds {info.file_size}"
                )
            refuse_bomb(f"{file}: {name}", claimed, info.compress_size)
    return headers


def _refuse_objects(file: Path, header: Mapping[str, _Header], names: Collection[str]) -> None:
    for name in names:
        if header[name].dtype.hasobject:
            raise InvalidInputError(
                f"{file}: {name}: holds Python objects, not numbers: save one row per step, all of a width"
            )


def _read(file: Path, names: Collection[str]) -> dict[str, NDArray[Any]]:
    """Some arrays of a file.

    Raises:
        DamagedDataError: it cannot be read.
        InvalidInputError: one of them holds Python objects.
    """
    _refuse_objects(file, _headers(file), names)
    with reading(file), np.load(file, allow_pickle=False) as loaded:
        return {name: loaded[name] for name in names}
