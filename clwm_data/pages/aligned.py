"""Tables as aligned text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from clwm_data.pages.numbers import MINUS


def aligned(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Lines of a table; columns whose first row begins as a number does are aligned to the right."""
    lines = [list(header), *[list(row) for row in rows]]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    lines.insert(1, ["-" * width for width in widths])
    reference = lines[2] if len(lines) > 2 else header
    right = [cell[:1] in f"-{MINUS}0123456789" and cell != "" for cell in reference]
    return [
        "  ".join(
            cell.rjust(width) if number else cell.ljust(width)
            for cell, width, number in zip(line, widths, right, strict=True)
        ).rstrip()
        for line in lines
    ]
