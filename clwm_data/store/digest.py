"""SHA-256 of arrays, files and JSON."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clwm_data.bounded import open_file, read_bounded
from clwm_data.errors import InvalidInputError


def array_sha256(array: NDArray[Any]) -> str:
    """Digest of an array's type, shape and values (C order, little-endian), not of how it is stored."""
    dtype, name = _little_endian(array.dtype)
    little = np.ascontiguousarray(array, dtype)
    digest = hashlib.sha256(f"{name}{list(little.shape)}".encode())
    digest.update(little.data if little.size else b"")
    return digest.hexdigest()


@lru_cache
def _little_endian(dtype: np.dtype[Any]) -> tuple[np.dtype[Any], str]:
    """The little-endian type and its name, which NumPy takes longer to make than to hash a small array."""
    little = dtype.newbyteorder("<")
    return little, little.name


def file_sha256(path: Path) -> str:
    """Digest of a file's bytes."""
    with open_file(path) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def document_sha256(path: Path) -> str | None:
    """Digest of a document's bytes; ``None`` where it is missing, or no file of a document's size."""
    try:
        return hashlib.sha256(read_bounded(path)).hexdigest()
    except (OSError, InvalidInputError):
        return None


def json_sha256(value: Any) -> str:
    """Digest of a JSON value in canonical form: sorted keys, no spaces, no NaN."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def content_sha256(arrays: Mapping[str, Mapping[str, str]]) -> str:
    """Digest of all values of a store.

    Args:
        arrays: index of a task, as text -> name of an array -> digest of its values.
    """
    return json_sha256(arrays)


def root_sha256(root: Mapping[str, Any]) -> str:
    """Digest of a root ``zarr.json`` without its own entry."""
    attributes = {key: value for key, value in root["attributes"].items() if key != "root_sha256"}
    return json_sha256({**root, "attributes": attributes})
