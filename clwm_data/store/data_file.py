"""A file of a store that is read once, for its digest, its checks and its values."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from io import FileIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clwm_data.bounded import open_file, open_unbuffered, read_at
from clwm_data.store.digest import file_sha256

#: Files of up to this size are read whole; of longer ones, which may be full of what no array uses, the parts
#: that are asked for.
WHOLE_BYTES = 2**26
#: Copying to memory that is not aligned to this takes up to half as long again.
ALIGNMENT = 64


class Scratch:
    """Memory for the files of one task after another: fresh memory takes as long to get as to fill."""

    def __init__(self) -> None:
        self._block = _aligned(0)
        self._taken = 0

    def reset(self, sizes: Iterable[int]) -> None:
        """Make room for files of some sizes; what was taken before holds other bytes from now on."""
        needed = sum(_padded(size) for size in sizes if size <= WHOLE_BYTES)
        if needed > len(self._block):
            self._block = _aligned(needed)
        self._taken = 0

    def take(self, size: int) -> NDArray[np.uint8]:
        """[size] memory, until :meth:`reset`."""
        start, self._taken = self._taken, self._taken + _padded(size)
        return self._block[start : start + size] if self._taken <= len(self._block) else _aligned(size)


class DataFile:
    """The bytes of a regular file.

    Attributes:
        size: in bytes.
        content: [size] all of its bytes, or ``None`` where it has more than ``WHOLE_BYTES``, or another size
            than it should have.
    """

    def __init__(self, path: Path | str, scratch: Scratch | None = None, *, size: int | None = None) -> None:
        """Read a file.

        Args:
            path: of the file.
            scratch: the memory to read it to; new memory by default.
            size: what it should have: a file of another size is not read.

        Raises:
            OSError: it cannot be read, or is not a regular file.
        """
        self._path = path
        self.content: NDArray[np.uint8] | None = None
        stream, self.size = open_unbuffered(path)
        with stream:
            if self.size <= WHOLE_BYTES and size in (None, self.size):
                self.content = _aligned(self.size) if scratch is None else scratch.take(self.size)
                _fill(stream, self.content.data, path)

    @property
    def path(self) -> Path:
        """Path of the file; made when asked for, since that takes as long as to read a small file."""
        return Path(self._path)

    def read(self, start: int, size: int) -> memoryview:
        """Up to ``size`` bytes from a position.

        Raises:
            OSError: they cannot be read.
        """
        if self.content is not None:
            return self.content.data[start : start + size]
        with open_file(self.path) as stream:
            return memoryview(read_at(stream.fileno(), size, start))

    def sha256(self) -> str:
        """Digest of the bytes, in hexadecimal.

        Raises:
            OSError: they cannot be read.
        """
        if self.content is not None:
            return hashlib.sha256(self.content.data).hexdigest()
        return file_sha256(self.path)


def _fill(stream: FileIO, memory: memoryview, path: Path | str) -> None:
    """Read until memory is full; one read may return less."""
    filled = 0
    while filled < len(memory):
        count = stream.readinto(memory[filled:])
        if not count:
            raise OSError(f"{path}: became shorter while it was read")
        filled += count


def _padded(size: int) -> int:
    return size + -size % ALIGNMENT


def _aligned(size: int) -> NDArray[np.uint8]:
    """[size] new memory."""
    memory = np.empty(size + ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % ALIGNMENT
    return memory[start : start + size]
