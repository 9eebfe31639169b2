"""A store as Parquet: one row per transition, a set of files per split, for programs that cannot read Zarr.

The same store gives the same bytes with the same version of pyarrow. The files lack the observation after
an episode's last step, seeds and simulator states.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from clwm_data.extras import require
from clwm_data.families.base import SPLITS, Split
from clwm_data.ranges import format_indices
from clwm_data.store.arrays import TaskArrays
from clwm_data.store.reader import Store
from clwm_data.store.stored_task import StoredTask

#: Files stay below 200 MB including their footers; a row group is what readers decode at once.
FILE_BYTES = 180 * 10**6
GROUP_BYTES = 2**25

#: Columns with few distinct values.
REPEATED = ("task", "episode", "step", "behaviour")
PARAMETER = "parameter."
#: Key of the metadata of a parameter's column: the tasks whose list of one number stands for that number.
NUMBERS = b"clwm.numbers"


def require_parquet(purpose: str) -> None:
    """Check that pyarrow is installed; errors as :func:`~clwm_data.extras.require`."""
    require("pyarrow", "parquet", purpose)


def write_parquet(
    store: Store,
    folder: Path,
    *,
    file_bytes: int = FILE_BYTES,
    group_bytes: int = GROUP_BYTES,
    on_progress: Callable[[int, int], object] | None = None,
) -> dict[Split, list[Path]]:
    """Write the transitions of every split to files ``train-00000.parquet``, ``train-00001.parquet``, ...

    Columns: ``task``, ``episode`` (number within the task), ``step``, ``observation`` (before the action),
    ``action``, ``reward``, ``dense_reward`` and ``success`` where the store has them, ``terminated``,
    ``truncated``, ``behaviour`` (in words), and ``parameter.NAME`` for every parameter of the tasks. A number
    that is a vector in other tasks is a list of one; the column's metadata lists those tasks.

    Args:
        store: the store, verified while it is read, with one task in memory at a time.
        folder: existing folder for the files.
        file_bytes: largest size of a file.
        group_bytes: size in memory of a row group.
        on_progress: called with the numbers of tasks done and in all.

    Returns:
        The files of every split that has tasks.

    Raises:
        DamagedDataError: the store is damaged.
        MissingExtraError: pyarrow is not installed.
        OSError: the disk is full.
    """
    require_parquet("writing Parquet")
    schema = _schema(store)
    files: dict[Split, list[Path]] = {}
    done = 0
    for split in SPLITS:
        if not (indices := store.split(split)):
            continue
        with _Files(folder, split, schema, file_bytes, group_bytes) as writer:
            for index in indices:
                if on_progress is not None:
                    on_progress(done, len(store.tasks))
                task = store.tasks[index]
                writer.write(_rows(schema, task, task.load()))
                done += 1
        files[split] = writer.paths
    if on_progress is not None:
        on_progress(done, len(store.tasks))
    return files


class _Files:
    """The files of one split, each closed before it would grow too large."""

    def __init__(self, folder: Path, split: Split, schema: Any, file_bytes: int, group_bytes: int) -> None:
        self._folder = folder
        self._split = split
        self._schema = schema
        self._file_bytes = file_bytes
        self._group_bytes = group_bytes
        self._waiting: list[Any] = []
        self._waiting_bytes = 0
        self._opened = ExitStack()
        self._writer: Any = None
        self._sink: BinaryIO | None = None
        self.paths: list[Path] = []

    def __enter__(self) -> _Files:
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        with self._opened:
            if error is None and self._waiting:
                self._write_group(_joined(self._waiting))

    def write(self, rows: Any) -> None:
        """Add a table; rows that do not fill a row group wait for the next call."""
        self._waiting.append(rows)
        self._waiting_bytes += rows.nbytes
        if self._waiting_bytes < self._group_bytes:
            return
        table = _joined(self._waiting)
        length = max(1, len(table) * self._group_bytes // self._waiting_bytes)
        while len(table) >= length:
            self._write_group(table.slice(0, length))
            table = table.slice(length)
        self._waiting, self._waiting_bytes = ([table], table.nbytes) if len(table) else ([], 0)

    def _write_group(self, rows: Any) -> None:
        if self._sink is None or self._sink.tell() + rows.nbytes > self._file_bytes:
            self._open()
        self._writer.write_table(rows, row_group_size=len(rows))

    def _open(self) -> None:
        import pyarrow.parquet as pq

        self._opened.close()
        self.paths.append(self._folder / f"{self._split}-{len(self.paths):05d}.parquet")
        self._sink = self._opened.enter_context(self.paths[-1].open("wb"))
        self._writer = self._opened.enter_context(
            pq.ParquetWriter(
                self._sink,
                self._schema,
                compression="zstd",
                use_dictionary=[n for n in self._schema.names if n in REPEATED or n.startswith(PARAMETER)],
                use_content_defined_chunking=True,  # lets the Hub store what two versions share only once
            )
        )


def _joined(tables: Sequence[Any]) -> Any:
    import pyarrow as pa

    return pa.concat_tables(tables).combine_chunks()


def _schema(store: Store) -> Any:
    """The columns of all tasks; those that only some tasks have are null for the others."""
    import pyarrow as pa

    tasks = list(store.tasks.values())
    count = tasks[0].record.discrete_actions

    def optional(name: str, kind: Any) -> list[tuple[str, Any]]:
        return [(name, kind)] if any(name in task.record.arrays for task in tasks) else []

    def vector(name: str) -> Any:
        return _list(pa.float32(), [task.arrays[name].shape[1] for task in tasks])

    parameters: dict[str, dict[int, float | list[float]]] = {}
    for task in tasks:
        for name, value in task.record.parameters.items():
            parameters.setdefault(name, {})[task.index] = value
    return pa.schema(
        [
            *((name, pa.int64()) for name in ("task", "episode", "step")),
            ("observation", vector("observation")),
            ("action", _action_type(tasks)),
            ("reward", pa.float32()),
            *optional("dense_reward", pa.float32()),
            ("terminated", pa.bool_()),
            ("truncated", pa.bool_()),
            *optional("success", pa.bool_()),
            ("behaviour", pa.string()),
            *(_parameter_field(name, values, len(tasks)) for name, values in parameters.items()),
        ],
        metadata=None if count is None else {"clwm.discrete_actions": str(count)},
    )


def _action_type(tasks: Sequence[StoredTask]) -> Any:
    """Numbers of discrete actions, or vectors; tasks of one family have the same."""
    import pyarrow as pa

    if tasks[0].record.discrete_actions is not None:
        return pa.int64()
    return _list(pa.float32(), [task.action_size for task in tasks])


def _parameter_field(name: str, values: Mapping[int, float | list[float]], tasks: int) -> Any:
    """The column of a parameter, given its value in each task that has it, and how many tasks there are."""
    import pyarrow as pa

    vectors = [value for value in values.values() if isinstance(value, list)]
    if not vectors:
        return pa.field(f"{PARAMETER}{name}", pa.float64())
    numbers = [task for task, value in values.items() if not isinstance(value, list)]
    lengths = [*map(len, vectors), *(1 for _ in numbers)]
    if len(values) < tasks:  # PyArrow before 26 cannot read missing lists of a fixed length
        lengths.append(0)
    return pa.field(
        f"{PARAMETER}{name}",
        _list(pa.float64(), lengths),
        metadata={NUMBERS: format_indices(numbers)} if numbers else None,
    )


def _list(kind: Any, lengths: Sequence[int]) -> Any:
    """The type of lists of these lengths, which is fixed where they agree."""
    import pyarrow as pa

    return pa.list_(kind, (lengths[0] or -1) if len(set(lengths)) == 1 else -1)


def _rows(schema: Any, task: StoredTask, arrays: TaskArrays) -> Any:
    """A table [N] of a task's transitions."""
    import pyarrow as pa

    transitions = arrays.transitions
    episode = np.repeat(np.arange(arrays.episodes), arrays.episode_length)
    columns: dict[str, Any] = {
        "task": np.full(transitions, task.index),
        "episode": episode,
        "step": np.arange(transitions) - arrays.episode_start[episode],
        "observation": _vectors(arrays.observation[arrays.observation_row()]),
        "action": arrays.stored_action if arrays.discrete else _vectors(arrays.action),
        "reward": arrays.reward,
        "dense_reward": arrays.dense_reward,
        "terminated": arrays.terminated,
        "truncated": arrays.truncated,
        "success": arrays.success,
        "behaviour": pa.array([entry.label for entry in task.record.behaviours]).take(
            pa.array(arrays.episode_behaviour[episode])
        ),
    }

    def column(name: str, kind: Any) -> Any:
        if name.startswith(PARAMETER):
            value = task.record.parameters.get(name.removeprefix(PARAMETER))
            if isinstance(value, float) and pa.types.is_nested(kind):
                value = [value]
            return pa.array([value], kind).take(pa.array(np.zeros(transitions, np.int64)))
        values = columns[name]
        if values is None:
            return pa.nulls(transitions, kind)
        return pa.array(values, kind) if isinstance(values, np.ndarray) else values.cast(kind)

    return pa.Table.from_arrays([column(field.name, field.type) for field in schema], schema=schema)


def _vectors(values: NDArray[np.float32]) -> Any:
    """[N, width] as a column of lists."""
    import pyarrow as pa

    return pa.FixedSizeListArray.from_arrays(
        pa.array(np.ascontiguousarray(values).reshape(-1)), values.shape[1]
    )
