"""From HDF5 files (package h5py): flat arrays as in D4RL, or groups ``data/demo_0`` as in robomimic.

One file is one task.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from clwm_data.convert.flat import find_columns, flat_episodes, last_observations, left_out, remarks
from clwm_data.convert.source import (
    ForeignTask,
    RawEpisode,
    Source,
    digest_of,
    files_below,
    natural_key,
    reading,
    refuse_bomb,
    task_indices,
)
from clwm_data.errors import InvalidInputError
from clwm_data.extras import require

SUFFIXES = (".hdf5", ".h5")


def hdf5_source(path: Path | str, tasks: Collection[int] | None = None) -> Source:
    """HDF5 files as tasks.

    Args:
        path: a file, or a folder of files in natural order.
        tasks: task of each file; 0, 1, 2, ... by default.

    Raises:
        NotFoundError: there is no such file.
        InvalidInputError: a file has neither flat arrays nor groups ``data/demo_0``.
        DamagedDataError: a file cannot be read.
        MissingExtraError: h5py is not installed.
    """
    require("h5py", "hdf5", "converting from HDF5")
    files = files_below(Path(path), SUFFIXES)
    indices = task_indices(files, tasks, path)
    layouts = [_layout(file) for file in files]
    columns = [layout.columns for layout in layouts]
    ends = {last_observations(names) for names in columns}
    unread = {name for layout in layouts for name in layout.left_out}
    return Source(
        name=Path(path).resolve().name,
        tasks={
            index: ForeignTask(file.name, lambda file=file: _episodes(file))  # type: ignore[misc]
            for index, file in zip(indices, files, strict=True)
        },
        sha256=digest_of({str(index): file for index, file in zip(indices, files, strict=True)}),
        options={"from": "hdf5", "observations after last steps": "; ".join(sorted(ends))},
        remarks=remarks(path, columns, unread, whole=all(layout.grouped for layout in layouts)),
    )


class _Layout(NamedTuple):
    """What a file holds: its columns, names of what is not read, and whether its episodes are groups."""

    columns: dict[str, str]
    left_out: set[str]
    grouped: bool


def _layout(file: Path) -> _Layout:
    import h5py

    with reading(file), h5py.File(file, "r") as opened:
        name, arrays, everything = _demonstrations(opened)[0]
        columns = find_columns(arrays, str(file))
        return _Layout(columns, left_out(everything, columns), bool(name))


def _episodes(file: Path) -> Iterator[RawEpisode]:
    import h5py

    groups = []
    with reading(file), h5py.File(file, "r") as opened:
        for name, arrays, _ in _demonstrations(opened):
            where = f"{file}: {name}" if name else str(file)
            columns = find_columns(arrays, where)
            values = {name: _array(arrays[name], f"{file}: {name}") for name in columns.values()}
            groups.append((where, columns, values))
    for where, columns, values in groups:
        yield from flat_episodes(values, columns, where)


def _demonstrations(opened: Any) -> list[tuple[str, dict[str, Any], list[str]]]:
    """Groups of arrays in natural order, with the names of all that is in them: those of robomimic, or the
    whole file."""
    import h5py

    data = opened.get("data")
    if not isinstance(data, h5py.Group):
        return [("", _known(opened), list(opened))]
    names = sorted((name for name in data if isinstance(data[name], h5py.Group)), key=natural_key)
    if not names:
        raise InvalidInputError(f"{opened.filename}: its group data holds no demonstrations")
    return [(name, _known(data[name]), list(data[name])) for name in names]


def _known(group: Any) -> dict[str, Any]:
    """The arrays of a group; a group of observation parts counts as one array."""
    import h5py

    parts = ("obs", "next_obs", "observations", "next_observations")
    return {
        name: value
        for name, value in group.items()
        if isinstance(value, h5py.Dataset) or (name in parts and isinstance(value, h5py.Group))
    }


def _array(value: Any, where: str) -> NDArray[Any]:
    import h5py

    if isinstance(value, h5py.Dataset):
        refuse_bomb(where, (value.size or 0) * value.dtype.itemsize, value.id.get_storage_size())
        return np.asarray(value[()])
    columns = []
    for name in sorted(value):
        part = _array(value[name], f"{where}/{name}") if isinstance(value[name], h5py.Dataset) else None
        if part is None or part.ndim not in (1, 2):
            shape = "a group" if part is None else f"of shape {list(part.shape)}"
            raise InvalidInputError(
                f"{where}/{name}: is {shape}: only vectors can be joined, leave images out of the file"
            )
        columns.append(part.reshape(len(part), -1))
    if not columns or len({len(column) for column in columns}) != 1:
        raise InvalidInputError(f"{where}: its parts have different numbers of rows, or there are none")
    return np.hstack(columns)
