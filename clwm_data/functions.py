"""Functions of users by their names, ``package.module:function``."""

from __future__ import annotations

import hashlib
import inspect
import sys
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from clwm_data.bounded import read_bounded
from clwm_data.errors import NotFoundError, UnavailableError

#: What code of others may raise. An exit would end the process without a word, with any status.
FOREIGN_ERRORS = (Exception, SystemExit)


def is_code(reference: str) -> bool:
    """Whether a reference names a module to import, rather than something registered in clwm or Gymnasium."""
    return ":" in reference


def find_function(reference: str, where: str) -> Callable[..., Any]:
    """The object that ``package.module:name`` names; the module may also be in the current folder.

    Raises:
        NotFoundError: no such module, or nothing of that name in it.
        UnavailableError: the module cannot be imported.
    """
    module_name, _, name = reference.partition(":")
    if not (module_name and name):
        raise NotFoundError(
            f"{where}: {reference!r} names no function of a module: write package.module:function"
        )
    here = str(Path.cwd())
    added = here not in sys.path and "" not in sys.path
    if added:
        sys.path.append(here)  # last, so that it hides no installed package
    try:
        module = import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is not None and (module_name + ".").startswith(error.name + "."):
            raise NotFoundError(
                f"{where}: there is no module {error.name}, neither installed nor in {here}"
            ) from error
        raise UnavailableError(
            f"{where}: {module_name} needs the package {error.name}: install it"
        ) from error
    except FOREIGN_ERRORS as error:
        raise UnavailableError(f"{where}: {module_name} cannot be imported: {in_short(error)}") from error
    finally:
        if added:
            sys.path.remove(here)
    function = getattr(module, name, None)
    if not callable(function):
        raise NotFoundError(f"{where}: {module_name} has no function {name}")
    result: Callable[..., Any] = function
    return result


def in_short(error: BaseException) -> str:
    """An error in a user's code, in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def source_sha256(function: Any) -> str | None:
    """Digest of the file that holds a function; ``None`` where no file does."""
    with suppress(TypeError, OSError, ValueError):
        file = inspect.getsourcefile(inspect.unwrap(function))
        if file is not None:
            return hashlib.sha256(read_bounded(Path(file))).hexdigest()
    return None
