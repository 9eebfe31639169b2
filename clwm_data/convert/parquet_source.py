"""From Parquet (extra ``parquet``): what :mod:`clwm_data.convert.parquet` wrote, or a file per task.

Files of others have the columns of other flat formats, one row per step, with lists as vectors; a column
``episode`` (or ``episode_id``) separates episodes.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clwm_data.convert.columns import array_of, read_columns, read_table, schema, texts
from clwm_data.convert.flat import find_columns, flat_episodes, last_observations, left_out, remarks
from clwm_data.convert.source import (
    ForeignTask,
    RawEpisode,
    Source,
    chosen_indices,
    digest_of,
    files_below,
    plain_text,
    task_indices,
    whole_numbers,
)
from clwm_data.convert.tables import MAX_TASKS, SPLITS, TaskTable
from clwm_data.errors import InvalidInputError
from clwm_data.extras import require
from clwm_data.families.base import Parameters, Split
from clwm_data.ranges import parse_indices
from clwm_data.store.parquet import NUMBERS

#: Columns of clwm's files that are not read, beside parameters, or read for all tasks at once.
OWN = ("task", "behaviour", "step")
#: Of columns that hold a task's parameters, as :mod:`clwm_data.store.parquet` names them.
PARAMETER = "parameter."
#: Key of a schema's metadata that holds the number of discrete actions.
DISCRETE = b"clwm.discrete_actions"


def parquet_source(path: Path | str, tasks: Collection[int] | None = None) -> Source:
    """Parquet files as tasks.

    Args:
        path: a file, or a folder of files in natural order.
        tasks: task of each file; 0, 1, 2, ... by default. Of files with a column ``task``: only these.

    Raises:
        NotFoundError: there is no such file.
        InvalidInputError: a file has no observations, actions or rewards.
        DamagedDataError: a file cannot be read.
        MissingExtraError: pyarrow is not installed.
    """
    require("pyarrow", "parquet", "converting from Parquet")
    files = files_below(Path(path), (".parquet",))
    schemas = [schema(file) for file in files]
    columns = [
        find_columns(dict.fromkeys(s.names), str(file)) for file, s in zip(files, schemas, strict=True)
    ]
    name = Path(path).resolve().name
    options = {
        "from": "parquet",
        "observations after last steps": "; ".join(sorted({last_observations(names) for names in columns})),
    }
    unread = {n for s, names in zip(schemas, columns, strict=True) for n in left_out(s.names, names)}
    if all(_names_tasks(s, names) for s, names in zip(schemas, columns, strict=True)):
        unread = {n for n in unread if n not in OWN and not n.startswith(PARAMETER)}
        for file, names in zip(files, columns, strict=True):
            if names != columns[0]:
                differ = ", ".join(sorted({*names.values()} ^ {*columns[0].values()}))
                raise InvalidInputError(
                    f"{file}: its columns are not those of {files[0]}: {differ} must be in both or in none"
                )
        source = _of_several(name, files, schemas, columns[0], options, tasks)
        return replace(source, remarks=remarks(path, columns, unread))
    indices = task_indices(files, tasks, path)
    worded = [
        file
        for file, s, names in zip(files, schemas, columns, strict=True)
        if "task" in s.names and not _names_tasks(s, names)
    ]
    return Source(
        name=name,
        tasks={
            index: ForeignTask(
                file.name,
                lambda file=file, names=names: _episodes([file], names, str(file)),  # type: ignore[misc]
            )
            for index, file, names in zip(indices, files, columns, strict=True)
        },
        sha256=digest_of({str(index): file for index, file in zip(indices, files, strict=True)}),
        options=options,
        remarks=remarks(path, columns, unread, worded=worded),
    )


def _names_tasks(file_schema: Any, columns: Mapping[str, str]) -> bool:
    """Whether a file's rows are of several tasks, which a column tells apart."""
    import pyarrow as pa

    if "task" not in file_schema.names:
        return False
    return "episode" in columns or pa.types.is_integer(file_schema.field("task").type)


def _of_several(
    name: str,
    files: Sequence[Path],
    schemas: Sequence[Any],
    columns: Mapping[str, str],
    options: Mapping[str, str],
    tasks: Collection[int] | None,
) -> Source:
    """Files that hold several tasks, told apart by their column ``task``."""
    holders: dict[int, list[Path]] = {}
    splits: dict[int, Split] = {}
    parameters: dict[int, Parameters] = {}
    policies: dict[int, set[str]] = {}
    for file, file_schema in zip(files, schemas, strict=True):
        kinds = {
            n: _tasks_with_numbers(file_schema.field(n), file)
            for n in file_schema.names
            if n.startswith(PARAMETER)
        }
        table = read_table(file, ["task", *kinds])
        task_of_row = whole_numbers(f"{file}: task", array_of(table["task"], f"{file}: task"))
        split = next((split for split in SPLITS if file.name.startswith(f"{split}-")), None)
        named = (
            texts(file, "behaviour") if "behaviour" in file_schema.names else ["unknown"] * len(task_of_row)
        )
        for index in np.unique(task_of_row).tolist():
            rows = np.flatnonzero(task_of_row == index)
            holders.setdefault(index, []).append(file)
            policies.setdefault(index, set()).update(named[row] for row in rows)
            numbers = {
                n.removeprefix(PARAMETER): _constant(
                    column, f"{file}: {n}", index, index in tasks_with_numbers
                )
                for n, tasks_with_numbers in kinds.items()
                if (column := table[n].take(rows)).null_count < len(rows)  # else it is not this task's
            }
            if parameters.setdefault(index, numbers) != numbers:
                raise InvalidInputError(f"{file}: task {index} has other parameters than in files before it")
            if split is not None and splits.setdefault(index, split) != split:
                raise InvalidInputError(
                    f"{file}: task {index} is of the split {split}, in files before it of {splits[index]}: "
                    "rename the files so that all of a task are of one split"
                )
    counts = {_count(s, name) for s in schemas}
    if len(counts) > 1:
        raise InvalidInputError(f"{name}: its files differ in their number of discrete actions")
    (count,) = counts
    return Source(
        name=name,
        tasks={
            index: ForeignTask(
                f"{name}: task {index}",
                lambda index=index: _episodes(  # type: ignore[misc]
                    holders[index], columns, f"{name}: task {index}", [("task", "=", index)]
                ),
                policy=next(iter(policies[index])) if len(policies[index]) == 1 else "unknown",
                action_bounds=count or None,
            )
            for index in chosen_indices(holders, tasks, name)
        },
        sha256=digest_of({file.name: file for file in files}),
        options=options,
        table=TaskTable(splits if splits.keys() == holders.keys() else None, parameters),
    )


def _count(its_schema: Any, name: str) -> int:
    """The number of discrete actions that a schema states; 0 for none."""
    text = plain_text((its_schema.metadata or {}).get(DISCRETE, b"0").decode("ascii", "replace"))
    if not re.fullmatch("[0-9]{1,9}", text):
        raise InvalidInputError(f"{name}: {DISCRETE.decode()}: {text[:40]!r} is not a number of actions")
    return int(text)


def _tasks_with_numbers(field: Any, file: Path) -> tuple[int, ...]:
    """The tasks for which a column of vectors holds plain numbers, as its metadata says."""
    text = plain_text((field.metadata or {}).get(NUMBERS, b"").decode("ascii", "replace"))
    try:
        return parse_indices(text, range(MAX_TASKS)) if text else ()
    except InvalidInputError as error:
        raise InvalidInputError(f"{file}: {field.name}: {NUMBERS.decode()}: {error}") from error


def _constant(column: Any, where: str, task: int, is_number: bool) -> float | tuple[float, ...]:
    """The value of a task's parameter, which all of its rows repeat; a number may be in a list."""
    values = array_of(column, where)
    value = values[0]
    if (values != value).any():
        raise InvalidInputError(f"{where}: differs between the rows of task {task}")
    if np.ndim(value) == 0 or (is_number and np.size(value) == 1):
        return float(np.reshape(value, ()))
    return tuple(float(part) for part in value)


def _counts_steps(its_schema: Any) -> bool:
    import pyarrow as pa

    return "step" in its_schema.names and pa.types.is_integer(its_schema.field("step").type)


def _episodes(
    files: Sequence[Path], columns: Mapping[str, str], where: str, rows: Any = None
) -> Iterator[RawEpisode]:
    """The episodes of some files.

    A new file begins another episode, also one of the same number, unless its steps continue those before.
    """
    needed = list(columns.values())
    parts = [read_columns(file, needed, rows) for file in files]
    arrays: dict[str, NDArray[Any]] = {n: np.concatenate([part[n] for part in parts]) for n in needed}
    ends = np.cumsum([len(part[columns["action"]]) for part in parts])
    begins = [
        int(end)
        for end, (before, after) in zip(ends[:-1], pairwise(files), strict=True)
        if not _continues(before, after, rows)
    ]
    yield from flat_episodes(arrays, columns, where, begins)


def _continues(before: Path, after: Path, rows: Any) -> bool:
    """Whether the first of some rows of a file is the step after the last one of those of another."""
    if not all(_counts_steps(schema(file)) for file in (before, after)):
        return False
    last, first = (read_columns(file, ["step"], rows)["step"] for file in (before, after))
    return bool(len(last) and len(first) and first[0] == last[-1] + 1)
