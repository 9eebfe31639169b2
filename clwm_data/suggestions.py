"""What may have been meant by a name that is not known: one helper for all names that are looked up."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

#: Longer texts are not names, and comparing them takes long.
LONGEST = 200


def close_names(name: str, known: Iterable[str], most: int = 3) -> list[str]:
    """Known names that resemble one that is not known, the closest first; upper and lower case are the same.

    Args:
        name: what was given.
        known: the names that there are.
        most: maximum number of names.
    """
    normalised = name[:LONGEST].strip().lower().replace("_", "-")
    spellings: dict[str, str] = {}
    for one in known:
        spellings.setdefault(one.lower().replace("_", "-"), one)
    close = difflib.get_close_matches(normalised, spellings, n=most)
    completions = [one for one in spellings if len(normalised) > 2 and one.startswith(normalised)]
    return [spellings[one] for one in dict.fromkeys([*close, *completions])][:most]


def suggestion(name: str, known: Iterable[str], otherwise: str = "", most: int = 1) -> str:
    """``did you mean a or b?``, or another hint if no known name resembles the one that was given.

    Args:
        name: what was given.
        known: the names that there are.
        otherwise: the other hint.
        most: maximum number of names.
    """
    close = close_names(name, known, most)
    return f"did you mean {either(close)}?" if close else otherwise


def either(names: Sequence[str]) -> str:
    """``a``, ``a or b``, ``a, b or c``."""
    return " or ".join([*filter(None, [", ".join(names[:-1])]), names[-1]])
