"""Arrays in one file that is whole or absent: an ``.npz`` archive followed by its SHA-256.

The digest is checked before anything is parsed.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clwm_data.bounded import open_file
from clwm_data.errors import DamagedDataError
from clwm_data.store.atomic import replacing

DIGEST_BYTES = hashlib.sha256().digest_size


def write_sealed(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write arrays to a file in an existing folder.

    Raises:
        OSError: the disk is full.
    """
    archive = io.BytesIO()
    named: dict[str, Any] = dict(arrays)
    np.savez(archive, **named)
    content = archive.getbuffer()
    with replacing(path) as temporary, temporary.open("wb") as stream:
        stream.write(content)
        stream.write(hashlib.sha256(content).digest())


def open_sealed(path: Path, advice: str) -> Any:
    """The result of ``numpy.load`` for the archive in a file: arrays by name, decoded when accessed.

    Args:
        path: the file.
        advice: what to do about a damaged file.

    Raises:
        DamagedDataError: the file differs from its digest.
        FileNotFoundError: the file does not exist.
    """
    return np.load(io.BytesIO(check_sealed(path, advice)), allow_pickle=False)


def check_sealed(path: Path, advice: str) -> bytes:
    """The archive's bytes; arguments and errors as of :func:`open_sealed`."""
    with open_file(path) as stream:
        content = stream.read()
    archive, digest = content[:-DIGEST_BYTES], content[-DIGEST_BYTES:]
    if hashlib.sha256(archive).digest() != digest:
        raise DamagedDataError(f"{path}: is damaged: {advice}")
    return archive
