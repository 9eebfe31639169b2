"""Columns of Parquet files as NumPy arrays (extra ``parquet``)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clwm_data.convert.source import plain_text, reading
from clwm_data.errors import DamagedDataError, InvalidInputError
from clwm_data.memory import TooLargeError, available_memory


def schema(file: Path) -> Any:
    """The schema of a file.

    Raises:
        DamagedDataError: it cannot be read.
    """
    import pyarrow.parquet as pq

    with reading(file):
        return pq.read_schema(file)


def read_table(file: Path, names: list[str], rows: Any = None) -> Any:
    """Columns of a file, as an arrow table.

    Args:
        file: the file.
        names: of the columns.
        rows: filter of :func:`pyarrow.parquet.read_table`; by default all rows.

    Raises:
        DamagedDataError: it cannot be read.
        InvalidInputError: it has no such column.
        TooLargeError: it does not fit into the memory that this process may use.
    """
    import pyarrow.parquet as pq

    with reading(file):
        stated = pq.read_metadata(file)
        groups = [stated.row_group(number) for number in range(stated.num_row_groups)]
        # A run of equal values takes next to nothing in the file, whatever its length.
        values = sum(group.column(c).num_values for group in groups for c in range(group.num_columns))
        size = max(8 * values, sum(group.total_byte_size for group in groups))
        if size > available_memory():
            raise TooLargeError(f"{file}: decodes to {size} bytes, more than this process may use")
        table = pq.read_table(file, columns=names, filters=rows)
    if missing := [name for name in names if name not in table.column_names]:
        raise InvalidInputError(f"{file}: has no column {plain_text(missing[0])}")
    return table


def read_columns(file: Path, names: list[str], rows: Any = None) -> dict[str, NDArray[Any]]:
    """Columns of a file as arrays; arguments and errors as of :func:`read_table` and :func:`array_of`."""
    table = read_table(file, names, rows)
    return {name: array_of(table[name], f"{file}: {name}") for name in names}


def array_of(column: Any, where: str) -> NDArray[Any]:
    """A column of a table: [N], or [N, n] where it holds lists.

    Raises:
        InvalidInputError: it has gaps, lists of different lengths, or no numbers; ``where`` names it.
    """
    return _array(column.combine_chunks(), where)


def _array(column: Any, where: str) -> NDArray[Any]:
    import pyarrow as pa

    if column.null_count:
        raise InvalidInputError(f"{where}: has {column.null_count} missing values")
    kind = column.type
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        flat = column.flatten()
        inner = _array(flat, where)
        width = len(flat) // len(column) if len(column) else 0
        lengths = np.asarray(column.value_lengths()) if len(column) else np.zeros(0, np.int64)
        if (lengths != width).any():
            row = int(np.argmax(lengths != lengths[0]))
            raise InvalidInputError(
                f"{where}: row {row} holds {lengths[row]} values, row 0 {lengths[0]}: all rows need as many"
            )
        return inner.reshape(len(column), -1) if width else np.zeros((len(column), 0))
    if pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return np.asarray(column.to_numpy(zero_copy_only=False))
    raise InvalidInputError(f"{where}: holds {plain_text(kind)}, neither numbers nor lists of numbers")


def texts(file: Path, name: str) -> list[str]:
    """A column of texts.

    Raises:
        DamagedDataError: the file or the column cannot be read.
    """
    import pyarrow.parquet as pq

    with reading(file):
        values = pq.read_table(file, columns=[name])[name].to_pylist()
    if not all(isinstance(value, str) for value in values):
        raise DamagedDataError(f"{file}: {name}: holds something that is not text")
    return [plain_text(value) for value in values]
