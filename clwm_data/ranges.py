"""Whole numbers, and tasks and episodes as people choose them: ``0-4,7``, one number, several."""

from __future__ import annotations

import operator
import re
from collections.abc import Iterable, Sequence
from typing import TypeVar

from clwm_data.errors import InvalidInputError
from clwm_data.yaml_values import shown

#: Tasks or episodes: their indices, one index, or text such as ``0-4,7``.
IndexChoice = Iterable[int] | int | str
Name = TypeVar("Name", bound=str)


def indices_of(choice: IndexChoice, allowed: Sequence[int], what: str = "task") -> tuple[int, ...]:
    """The indices that are meant, each once; of numbers, it is left to the caller whether they are allowed.

    Raises:
        InvalidInputError: neither whole numbers nor text that :func:`parse_indices` reads.
    """
    if isinstance(choice, str):
        return parse_indices(choice, allowed, what)
    named = choice if isinstance(choice, Iterable) else [choice]
    return tuple(dict.fromkeys(_index(index, what) for index in named))


def several(names: str | Iterable[Name] | None) -> tuple[Name, ...] | None:
    """One name or several as a tuple; ``None`` stays what it is."""
    return None if names is None else (names,) if isinstance(names, str) else tuple(names)  # type: ignore[return-value]


def whole(value: object) -> int | None:
    """A whole number, Python's or NumPy's, as an ``int``; ``None``: it is none, as booleans and floats."""
    try:
        return None if isinstance(value, bool) else operator.index(value)  # type: ignore[arg-type]
    except TypeError:  # NumPy's booleans, too
        return None


def _index(value: object, what: str) -> int:
    number = whole(value)
    if number is None:
        raise InvalidInputError(f"{what}s: {shown(value)}: expected whole numbers, or text such as 0-4,7")
    return number


def parse_indices(text: str, allowed: Sequence[int], what: str = "task") -> tuple[int, ...]:
    """Indices of a selection such as ``0-4,7``, ascending, or of ``all``.

    Raises:
        InvalidInputError: not such a selection, or an index that is not allowed.
    """
    if text.strip() == "all":
        return tuple(sorted(allowed))
    chosen: set[int] = set()
    known = allowed if isinstance(allowed, range) else set(allowed)
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,9})\s*(?:-\s*(\d{1,9})\s*)?", part)
        if match is None:
            raise InvalidInputError(
                f"{what} selection {text!r}: {part.strip()!r} is not an index or a range like 0-4"
            )
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first:
            raise InvalidInputError(f"{what} selection {text!r}: range {part.strip()} runs backwards")
        for index in (first, last):
            if index not in known:
                raise InvalidInputError(
                    f"{what} selection {text!r}: no {what} {index}; there are {format_indices(allowed)}"
                )
        chosen.update(index for index in range(first, last + 1) if index in known)
    return tuple(sorted(chosen))


def task_list(indices: Iterable[int]) -> str:
    """``task 7`` or ``tasks 0-4,7``."""
    chosen = set(indices)
    return f"{'task' if len(chosen) == 1 else 'tasks'} {format_indices(chosen)}"


def format_indices(indices: Iterable[int]) -> str:
    """The shortest selection text for some indices: ``0-4,7``; ``none`` for none."""
    parts: list[list[int]] = []
    for index in sorted(set(indices)):
        if parts and index == parts[-1][1] + 1:
            parts[-1][1] = index
        else:
            parts.append([index, index])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in parts) or "none"
