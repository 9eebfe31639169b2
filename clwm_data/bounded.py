"""Reading files that may be endless or huge, whatever size is stated: devices, pipes, foreign data."""

from __future__ import annotations

import csv
from pathlib import Path

from clwm_data.errors import InvalidInputError, NotFoundError

#: Maximum size of a CSV table.
MAX_TABLE_BYTES = 2**24


def read_bounded(path: Path, limit: int) -> bytes:
    """The content of a file.

    Raises:
        InvalidInputError: it has more than ``limit`` bytes.
        OSError: it cannot be read.
    """
    with path.open("rb") as stream:
        content = stream.read(limit + 1)
    if len(content) > limit:
        raise InvalidInputError(f"{path}: has more than {limit} bytes")
    return content


def read_csv(path: Path) -> list[list[str]]:
    """The rows of a CSV table.

    Raises:
        NotFoundError: it cannot be read.
        InvalidInputError: it is too large, or no CSV in UTF-8.
    """
    try:
        text = read_bounded(path, MAX_TABLE_BYTES).decode("utf-8-sig")
        return list(csv.reader(text.splitlines()))
    except InvalidInputError:
        raise
    except OSError as error:
        raise NotFoundError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, csv.Error) as error:
        raise InvalidInputError(f"{path}: is not a CSV file in UTF-8: {error}") from error
