"""Elementwise work in pieces that stay in the processor's cache."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

#: Entries of a piece on CPU: a handful of such arrays fit a core's level-2 cache.
PIECE = 1 << 17


def row_pieces(x: Tensor) -> Iterator[slice]:
    """Slices of the rows of x [N, ...]; on a GPU all of them at once."""
    rows, entries = len(x), x[:1].numel()
    step = max(1, PIECE // max(1, entries)) if x.device.type == "cpu" else rows
    for first in range(0, rows, step):
        yield slice(first, first + step)


def member_pieces(x: Tensor) -> Iterator[tuple[int, slice]]:
    """Pieces of x [M, N, ...]: a member and a slice of its rows."""
    for member, rows in enumerate(x):
        for piece in row_pieces(rows):
            yield member, piece
