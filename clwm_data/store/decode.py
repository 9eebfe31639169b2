"""Decoding arrays straight from their files, as docs/format.md describes them.

Zarr takes a millisecond to open an array and copies it several times; a task has a dozen arrays, and what the
writer makes is chunks of whole rows, uncompressed or compressed with zstd. Whatever else the format allows
(checksums, chunks of some columns) is left to zarr.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from clwm_data.store.data_file import DataFile

if TYPE_CHECKING:
    from clwm_data.store.array_metadata import ArrayMetadata


@dataclass(frozen=True)
class Shard:
    """A data file of an array that :func:`clwm_data.store.chunks.checked_chunks` found sound.

    Attributes:
        file: the file.
        chunks: start and size of its chunks, in the order of their rows.
    """

    file: DataFile
    chunks: list[tuple[int, int]]


def can_decode(metadata: ArrayMetadata) -> bool:
    """Whether :func:`decode` can read an array."""
    whole_rows = metadata.shape[1:] == metadata.file_shape[1:] == metadata.chunk_shape[1:]
    return whole_rows and metadata.chunk_codecs in (["bytes"], ["bytes", "zstd"])


def decode(metadata: ArrayMetadata, shards: Iterable[Shard]) -> NDArray[Any]:
    """The values of an array; uncompressed ones in one file are a view of the bytes that were read.

    Args:
        metadata: checked metadata of the array.
        shards: its files, in the order of their rows.

    Raises:
        OSError: a file cannot be read.
        RuntimeError: a compressed chunk is damaged.
    """
    from numcodecs.zstd import decompress  # here, since those who ask for metadata only need no codecs

    dtype = np.dtype(metadata.data_type).newbyteorder("<")
    compressed = "zstd" in metadata.chunk_codecs
    if metadata.files[0] == 1:
        (shard,) = shards = list(shards)
        if not compressed and (stored := _one_run(shard, metadata.nbytes)) is not None:
            return stored.view(dtype).reshape(metadata.shape)
    values = np.empty(metadata.shape, dtype)
    for number, shard in enumerate(shards):
        first = number * metadata.file_shape[0]
        for start, size in shard.chunks:
            part = values[first : min(first + metadata.chunk_shape[0], len(values))]
            content = shard.file.read(start, size)
            decoded = np.frombuffer(decompress(content) if compressed else content, dtype)
            part[...] = decoded[: part.size].reshape(part.shape)
            first += metadata.chunk_shape[0]
    return values


def _one_run(shard: Shard, nbytes: int) -> NDArray[np.uint8] | None:
    """[nbytes] the chunks of a file that was read whole, if they lie one after another from its start."""
    consecutive = shard.chunks[0][0] == 0 and all(
        start + size == following for (start, size), (following, _) in pairwise(shard.chunks)
    )
    return None if shard.file.content is None or not consecutive else shard.file.content[:nbytes]
