"""Which code that data names may be run.

Stores and runs name functions as ``package.module:function``: environments of declared families, policies
of manifests. One from somebody else would import and call whatever it names, so it is run only if this user
has collected with the same names before, or allows them in ``CLWM_ALLOW_CODE``.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from clwm_data.bounded import read_bounded
from clwm_data.cache import cache_root
from clwm_data.errors import UnavailableError

VARIABLE = "CLWM_ALLOW_CODE"


def check_allowed(names: Sequence[str], what: str) -> None:
    """Refuse to run code that came with data.

    Args:
        names: the functions, ``package.module:function``.
        what: who runs them, for the message.

    Raises:
        UnavailableError: nobody has allowed one of them on this machine.
    """
    if not names:
        return
    allowed = {*os.environ.get(VARIABLE, "").split(), *_remembered()}
    if unknown := [name for name in names if name not in allowed]:
        raise UnavailableError(
            f"{what} runs {' and '.join(unknown)}, with which nothing was collected on "
            f'this machine: look at that code, then allow it: {VARIABLE}="{" ".join(unknown)}"'
        )


def remember(names: Sequence[str]) -> None:
    """Allow functions that this user collects with from now on, if the cache can be written."""
    known = _remembered()
    new = [name for name in names if name not in known]
    if not new:
        return
    try:
        path = _file()
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8", newline="\n") as stream:
            stream.writelines(f"{name}\n" for name in new)
    except (OSError, UnavailableError):
        return


def _remembered() -> frozenset[str]:
    try:
        return frozenset(read_bounded(_file()).decode().split())
    except (OSError, ValueError, UnavailableError):
        return frozenset()


def _file() -> Path:
    return cache_root() / "allowed-code"
