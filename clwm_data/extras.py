"""Importing optional dependencies; if one is missing, the error names the extra to install."""

from __future__ import annotations

import importlib
from types import ModuleType

from clwm_data.errors import UnavailableError


class MissingExtraError(UnavailableError, ImportError):
    """A package of an optional extra is not installed."""


def require(module: str, extra: str, purpose: str) -> ModuleType:
    """Import ``module``, or raise an error that says which extra to install.

    Args:
        module: dotted name of the module.
        extra: extra of the clwm distribution that installs it.
        purpose: what it is needed for, as the subject of the message ("collecting cheetah-vel").

    Raises:
        MissingExtraError: the top-level package of ``module`` is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        # A package that is installed but broken must show its own error.
        if error.name is None or error.name.split(".")[0] != module.split(".")[0]:
            raise
        raise MissingExtraError(
            f'{purpose} needs the package {error.name}: pip install "clwm[{extra}]"'
        ) from error
