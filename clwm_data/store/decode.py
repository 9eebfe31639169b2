"""Decoding arrays straight from their files, as docs/format.md describes them.

Zarr takes a millisecond to open an array and copies it several times; a task has a dozen arrays, and what the
writer makes is chunks of whole rows, uncompressed or compressed with zstd. Whatever else the format allows
(checksums, chunks of some columns) is left to zarr.
"""

from __future__ import annotations

from collections.abc import Mapping
from io import RawIOBase
from pathlib import Path
from typing import Any

import numpy as np
from numcodecs.zstd import decompress
from numpy.typing import NDArray

from clwm_data.store.array_metadata import ArrayMetadata, file_name
from clwm_data.store.chunks import extents
from clwm_data.store.format import FileRecord


def can_decode(metadata: ArrayMetadata) -> bool:
    """Whether :func:`decode` can read an array."""
    whole_rows = metadata.shape[1:] == metadata.file_shape[1:] == metadata.chunk_shape[1:]
    return whole_rows and metadata.chunk_codecs in (["bytes"], ["bytes", "zstd"])


def decode(folder: Path, metadata: ArrayMetadata, files: Mapping[str, FileRecord]) -> NDArray[Any]:
    """The values of an array whose files :func:`clwm_data.store.chunks.check_chunks` found sound.

    Args:
        folder: of the array.
        metadata: checked metadata of the array.
        files: file name -> size.

    Raises:
        OSError: a file cannot be read.
        RuntimeError: a compressed chunk is damaged.
    """
    values = np.empty(metadata.shape, np.dtype(metadata.data_type).newbyteorder("<"))
    rows, file_rows, chunk_rows = metadata.shape[0], metadata.file_shape[0], metadata.chunk_shape[0]
    compressed = "zstd" in metadata.chunk_codecs
    for position in metadata.positions():
        name = file_name(position)
        first = position[0] * file_rows
        with (folder / name).open("rb", buffering=0) as stream:
            for start, size in extents(stream.fileno(), files[name].bytes, metadata, position):
                part = values[first : min(first + chunk_rows, rows)]
                stream.seek(start)
                if compressed:
                    decoded = np.frombuffer(decompress(stream.read(size)), values.dtype)
                    part[...] = decoded[: part.size].reshape(part.shape)
                else:
                    _fill(part, stream)
                first += chunk_rows
    return values


def _fill(part: NDArray[Any], stream: RawIOBase) -> None:
    """Read contiguous rows from the current position of a file, without an intermediate copy."""
    view = memoryview(part.reshape(-1).view(np.uint8).data)
    while len(view):
        count = stream.readinto(view)
        if not count:
            raise OSError("the file ends too early")
        view = view[count:]
