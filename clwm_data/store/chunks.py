"""Checks of an array's data files before anything is decoded.

A few bytes of zstd can decompress to terabytes, and an absent chunk is read as zeros. So the index of every
shard and the frame of every chunk are checked first: each chunk is present, lies within its file, and
decompresses to exactly the bytes of its shape.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from clwm_data.errors import DamagedDataError
from clwm_data.store.data_file import DataFile

if TYPE_CHECKING:
    from clwm_data.store.array_metadata import ArrayMetadata

CHECKSUM = 4
ABSENT = 2**64 - 1

ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
RLE_BLOCK = 1
RESERVED_BLOCK = 3


class _BadChunkError(Exception):
    """What is wrong with a chunk."""


def checked_chunks(
    file: DataFile, metadata: ArrayMetadata, position: tuple[int, ...]
) -> list[tuple[int, int]]:
    """Check a data file of an array without decoding it.

    Args:
        file: the data file.
        metadata: checked metadata of the array.
        position: of the file in the array's grid.

    Returns:
        Start and size of every chunk that holds values of the array.

    Raises:
        DamagedDataError: a chunk would not decode to its shape.
    """
    try:
        chunks = list(_extents(file, metadata, position))
        for start, size in chunks:
            _check_chunk(file, start, size, metadata)
    except _BadChunkError as error:
        raise DamagedDataError(f"{file.path}: is damaged: {error}") from error
    return chunks


def _extents(file: DataFile, metadata: ArrayMetadata, position: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    if metadata.sharding is None:
        yield 0, file.size
        return
    index = _shard_index(file, metadata)
    first = [place * extent for place, extent in zip(position, metadata.file_shape, strict=True)]
    used = tuple(
        slice(-(-min(extent, total - start) // chunk))
        for start, total, extent, chunk in zip(
            first, metadata.shape, metadata.file_shape, metadata.chunk_shape, strict=True
        )
    )
    for start, size in index[used].reshape(-1, 2).tolist():
        if start == ABSENT:
            raise _BadChunkError("a chunk of its shard is absent")
        if start + size > file.size - index.nbytes - CHECKSUM:
            raise _BadChunkError("the index of its shard points outside of the file")
        yield start, size


def _shard_index(file: DataFile, metadata: ArrayMetadata) -> NDArray[np.uint64]:
    """[chunks along each dimension, 2] start and size of the chunks of a shard, from the shard's end."""
    from google_crc32c import value as crc32c

    grid = [extent // chunk for extent, chunk in zip(metadata.file_shape, metadata.chunk_shape, strict=True)]
    size = 16 * math.prod(grid)
    if size + CHECKSUM > file.size:
        raise _BadChunkError("its shard is shorter than the index")
    text = bytes(file.read(file.size - size - CHECKSUM, size + CHECKSUM))
    text, checksum = text[:size], text[size:]
    if crc32c(text) != int.from_bytes(checksum, "little"):
        raise _BadChunkError("the index of its shard does not agree with its checksum")
    return np.frombuffer(text, "<u8").reshape(*grid, 2)


def _check_chunk(file: DataFile, start: int, size: int, metadata: ArrayMetadata) -> None:
    if "crc32c" in metadata.chunk_codecs:
        size -= CHECKSUM
    if "zstd" not in metadata.chunk_codecs:
        if size != metadata.chunk_bytes:
            raise _BadChunkError(f"a chunk has {size} bytes, its shape needs {metadata.chunk_bytes}")
        return
    if size < len(ZSTD_MAGIC) + 2:
        raise _BadChunkError("a chunk is too short for a zstd frame")
    header, decoded, checksum = _frame_header(file.read(start, min(size, 18)))
    if decoded != metadata.chunk_bytes:
        raise _BadChunkError(
            f"a chunk decompresses to {decoded} bytes, its shape needs {metadata.chunk_bytes}"
        )
    end = _walk_blocks(file, start + header, start + size)
    if end + checksum != start + size:
        raise _BadChunkError("a chunk is not one zstd frame")


def _frame_header(text: memoryview) -> tuple[int, int, int]:
    """Length of a zstd frame's header, the decompressed size it states, and the length of its checksum."""
    if text[:4] != ZSTD_MAGIC:
        raise _BadChunkError("a chunk does not start with a zstd frame")
    descriptor = text[4]
    single_segment = descriptor >> 5 & 1
    if descriptor & 0b1011:
        raise _BadChunkError("a chunk is a zstd frame with a dictionary or reserved bits")
    size_flag = descriptor >> 6
    size_bytes = single_segment if size_flag == 0 else 2**size_flag
    if size_bytes == 0:
        raise _BadChunkError("a chunk is a zstd frame that does not state its decompressed size")
    start = 5 + (1 - single_segment)
    decoded = int.from_bytes(text[start : start + size_bytes], "little") + (256 if size_bytes == 2 else 0)
    return start + size_bytes, decoded, CHECKSUM * (descriptor >> 2 & 1)


def _walk_blocks(file: DataFile, start: int, end: int) -> int:
    """Where the last block of a zstd frame ends."""
    while start + 3 <= end:
        block = int.from_bytes(file.read(start, 3), "little")
        last, kind, size = block & 1, block >> 1 & 0b11, block >> 3
        if kind == RESERVED_BLOCK:
            break
        start += 3 + (1 if kind == RLE_BLOCK else size)
        if last:
            return start
    raise _BadChunkError("a chunk's zstd frame is damaged")
