"""The Zarr metadata of an array, restricted to what the format allows.

A store may come from anywhere, so its metadata is checked before zarr acts on it: known codecs only, the
shape that the task's counts imply, chunks of bounded size, and no more values than the files can hold.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, ValidationError

from clwm_data.errors import DamagedDataError
from clwm_data.pages.numbers import plural
from clwm_data.store.arrays import DTYPES
from clwm_data.store.format import METADATA, FileRecord, file_name
from clwm_data.strict import StrictModel, Text, first_mistake

#: Largest chunk that is decoded at once; the writer's are about 1 MiB.
MAX_CHUNK_BYTES = 2**28
#: A block of zstd holds at most 128 KiB and takes at least 4 bytes (RFC 8878, 3.1.1.2).
MAX_ZSTD_RATIO = 2**15

#: Name of the stored type of every array.
TYPE_NAMES = {name: np.dtype(dtype).name for name, dtype in DTYPES.items()}

Extents = Annotated[list[Annotated[int, Field(ge=1, le=2**53)]], Field(min_length=1, max_length=2)]
Empty = Annotated[dict[str, Any], Field(max_length=0)]


class _BytesOptions(StrictModel):
    endian: Literal["little"]


class _Bytes(StrictModel):
    name: Literal["bytes"]
    configuration: _BytesOptions | Empty | None = None


class _ZstdOptions(StrictModel):
    level: int
    checksum: bool = False


class _Zstd(StrictModel):
    name: Literal["zstd"]
    configuration: _ZstdOptions


class _Crc32c(StrictModel):
    name: Literal["crc32c"]
    configuration: Empty | None = None


Codec = Annotated[_Bytes | _Zstd | _Crc32c, Field(discriminator="name")]


class _ShardingOptions(StrictModel):
    chunk_shape: Extents
    codecs: list[Codec]
    index_codecs: list[Codec]
    index_location: Literal["end"] = "end"


class _Sharding(StrictModel):
    name: Literal["sharding_indexed"]
    configuration: _ShardingOptions


class _GridOptions(StrictModel):
    chunk_shape: Extents


class _Grid(StrictModel):
    name: Literal["regular"]
    configuration: _GridOptions


class _KeyOptions(StrictModel):
    separator: Literal["."]


class _Keys(StrictModel):
    name: Literal["default"]
    configuration: _KeyOptions


class ArrayMetadata(StrictModel):
    """``zarr.json`` of an array."""

    zarr_format: Literal[3]
    node_type: Literal["array"]
    shape: Extents
    data_type: str
    chunk_grid: _Grid
    chunk_key_encoding: _Keys
    fill_value: bool | int | float
    codecs: Annotated[list[Annotated[Codec | _Sharding, Field(discriminator="name")]], Field(min_length=1)]
    attributes: Empty = Field(default_factory=dict)
    storage_transformers: Annotated[list[Any], Field(max_length=0)] = Field(default_factory=list)
    dimension_names: Annotated[list[Text | None], Field(max_length=2)] | None = None

    @cached_property
    def sharding(self) -> _ShardingOptions | None:
        """How a file is cut into chunks, or ``None`` where a file is one chunk."""
        first = self.codecs[0]
        return first.configuration if isinstance(first, _Sharding) else None

    @cached_property
    def file_shape(self) -> list[int]:
        """Shape of the values of one file (a shard, or a chunk)."""
        return self.chunk_grid.configuration.chunk_shape

    @cached_property
    def chunk_shape(self) -> list[int]:
        """Shape of the values that are decoded at once."""
        return self.file_shape if self.sharding is None else self.sharding.chunk_shape

    @cached_property
    def chunk_codecs(self) -> list[str]:
        """Names of the codecs of a chunk: ``bytes``, optionally ``zstd``, optionally ``crc32c``."""
        codecs = self.codecs if self.sharding is None else self.sharding.codecs
        return [codec.name for codec in codecs]

    @cached_property
    def chunk_bytes(self) -> int:
        """Size of a decoded chunk."""
        return math.prod(self.chunk_shape) * np.dtype(self.data_type).itemsize

    @cached_property
    def nbytes(self) -> int:
        """Size of the decoded array."""
        return math.prod(self.shape) * np.dtype(self.data_type).itemsize

    @cached_property
    def files(self) -> tuple[int, ...]:
        """Number of files along each dimension."""
        return _ceil(self.shape, self.file_shape)

    def positions(self) -> Iterator[tuple[int, ...]]:
        """Grid positions of the files; the one at (0, 2) is called ``c.0.2``."""
        return itertools.product(*map(range, self.files))


def array_metadata(
    node: Any,
    name: str,
    rows: int,
    files: Mapping[str, FileRecord],
    where: str,
    *,
    numbers: bool = False,
) -> ArrayMetadata:
    """Check the metadata of the array ``name``.

    Args:
        node: its ``zarr.json``.
        name: of the array.
        rows: length that the task's counts imply.
        files: file name within the array's folder -> size and digest.
        where: how to name the array in messages.
        numbers: it holds numbers of discrete actions.

    Raises:
        DamagedDataError: it is not what the format says, or claims more than its files can hold.
    """
    try:
        metadata = _sound_model(node, name, numbers)
    except ValidationError as error:
        raise DamagedDataError(f"{where}/{METADATA}: {first_mistake(error)}") from error
    except _MistakeError as error:
        raise DamagedDataError(f"{where}/{METADATA}: {error}") from error
    for mistake in _mistakes_beside_files(metadata, rows, files):
        raise DamagedDataError(f"{where}/{METADATA}: {mistake}")
    return metadata


class _MistakeError(Exception):
    """What is wrong with metadata that has the form of an array's."""


#: Length of metadata, written as Python does, that is remembered; the writer's have some 700 characters.
MOST_REMEMBERED = 4096
#: Name of an array -> its latest sound metadata: text, whether it is of numbers, model.
_latest: dict[str, tuple[str, bool, ArrayMetadata]] = {}


def _sound_model(node: Any, name: str, numbers: bool) -> ArrayMetadata:
    """The model of an array's metadata; arrays of one name mostly have the same in all tasks of a store.

    Raises:
        ValidationError: it has not the form of an array's metadata.
        _MistakeError: it is not what the format says of the array ``name``.
    """
    try:
        text = repr(node)  # unlike ``==``, it tells 1 from 1.0 and True
    except RecursionError:
        text = ""
    if name in _latest and _latest[name][:2] == (text, numbers):
        return _latest[name][2]
    model = ArrayMetadata.model_validate(node)
    for mistake in _mistakes(model, name, numbers):
        raise _MistakeError(mistake)
    if 0 < len(text) <= MOST_REMEMBERED:
        _latest[name] = text, numbers, model
    return model


def _mistakes(metadata: ArrayMetadata, name: str, numbers: bool) -> Iterator[str]:
    dtype = "int64" if numbers else TYPE_NAMES[name]
    vectors = name in ("observation", "action", "episode_initial_state") and not numbers
    dimensions = 2 if vectors else 1
    if metadata.data_type != dtype:
        yield f"expected an array of {dtype}, found {metadata.data_type}"
    elif len(metadata.shape) != dimensions:
        yield f"has shape {metadata.shape}, expected {plural(dimensions, 'dimension')}"
    elif metadata.dimension_names is not None and len(metadata.dimension_names) != dimensions:
        yield f"names {len(metadata.dimension_names)} dimensions, has {dimensions}"
    elif metadata.fill_value != 0:
        yield f"fill value is {metadata.fill_value}, expected 0"
    elif (mistake := _codec_mistake(metadata)) or (mistake := _grid_mistake(metadata)):
        yield mistake


def _mistakes_beside_files(
    metadata: ArrayMetadata, rows: int, files: Mapping[str, FileRecord]
) -> Iterator[str]:
    if metadata.shape[0] != rows:
        yield f"has shape {metadata.shape}, expected {plural(rows, 'row')}"
    elif (needed_files := math.prod(metadata.files)) != len(files) - 1 or files.keys() != {
        METADATA,
        *map(file_name, metadata.positions()),
    }:
        needed = plural(needed_files, "file")
        yield f"shape {metadata.shape} needs {needed}, {len(files) - 1} are listed"
    else:
        capacity = sum(file.bytes for key, file in files.items() if key != METADATA)
        capacity *= MAX_ZSTD_RATIO if "zstd" in metadata.chunk_codecs else 1
        if metadata.nbytes > capacity:
            yield (
                f"shape {metadata.shape} claims {metadata.nbytes} bytes, "
                f"the files can hold at most {capacity}"
            )


def _codec_mistake(metadata: ArrayMetadata) -> str | None:
    if metadata.chunk_codecs not in (
        ["bytes"],
        ["bytes", "zstd"],
        ["bytes", "crc32c"],
        ["bytes", "zstd", "crc32c"],
    ):
        return f"codecs {metadata.chunk_codecs} found, expected bytes, optionally zstd, optionally crc32c"
    if metadata.sharding is not None:
        if len(metadata.codecs) != 1:
            return "sharding_indexed must be the only codec beside those of its chunks"
        if [codec.name for codec in metadata.sharding.index_codecs] != ["bytes", "crc32c"]:
            return "the index of a shard must be coded as bytes, then crc32c"
    return None


def _grid_mistake(metadata: ArrayMetadata) -> str | None:
    if not len(metadata.shape) == len(metadata.file_shape) == len(metadata.chunk_shape):
        return (
            f"chunks {metadata.chunk_shape} and shape {metadata.shape} have different numbers of dimensions"
        )
    if any(file % chunk for file, chunk in zip(metadata.file_shape, metadata.chunk_shape, strict=True)):
        return f"shards {metadata.file_shape} are not multiples of the chunks {metadata.chunk_shape}"
    if metadata.chunk_bytes > MAX_CHUNK_BYTES:
        return f"chunks of {metadata.chunk_bytes} bytes are larger than {MAX_CHUNK_BYTES}"
    return None


def _ceil(shape: list[int], part: list[int]) -> tuple[int, ...]:
    return tuple(-(-extent // step) for extent, step in zip(shape, part, strict=True))
