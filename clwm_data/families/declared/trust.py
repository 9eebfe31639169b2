"""Which code a declared family may run.

A declaration travels in stores and runs. ``package.module:function`` in a declaration from somebody else
would import and call whatever it names, so it is run only if this user has collected with the same names
before, or allows them in ``CLWM_ALLOW_CODE``. Environments that Gymnasium knows by their id need no
permission.
"""

from __future__ import annotations

import os
from pathlib import Path

from clwm_data.cache import cache_root
from clwm_data.errors import UnavailableError
from clwm_data.families.declared.declaration import FamilyDeclaration
from clwm_data.functions import is_code

VARIABLE = "CLWM_ALLOW_CODE"


def code_of(declaration: FamilyDeclaration) -> list[str]:
    """The functions that a declaration names."""
    names = (declaration.env, declaration.apply)
    return [name for name in names if name is not None and is_code(name)]


def check_trusted(declaration: FamilyDeclaration, trusted: bool) -> None:
    """Refuse to run code that came with data.

    Raises:
        UnavailableError: nobody has allowed it on this machine.
    """
    if trusted:
        return
    allowed = {*os.environ.get(VARIABLE, "").split(), *_remembered()}
    if unknown := [name for name in code_of(declaration) if name not in allowed]:
        raise UnavailableError(
            f"family {declaration.name} runs {' and '.join(unknown)}, with which nothing was collected on "
            f'this machine: look at that code, then allow it: {VARIABLE}="{" ".join(unknown)}"'
        )


def remember(declaration: FamilyDeclaration) -> None:
    """Allow the functions that this user collects with from now on, if the cache can be written."""
    new = [name for name in code_of(declaration) if name not in _remembered()]
    if not new:
        return
    try:
        path = _file()
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as stream:
            stream.writelines(f"{name}\n" for name in new)
    except (OSError, UnavailableError):
        return


def _remembered() -> frozenset[str]:
    try:
        return frozenset(_file().read_text(encoding="utf-8").split())
    except (OSError, ValueError, UnavailableError):
        return frozenset()


def _file() -> Path:
    return cache_root() / "allowed-code"
