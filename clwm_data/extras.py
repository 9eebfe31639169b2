"""Import of optional dependencies, with the name of the extra to install when one is missing."""

from __future__ import annotations

import importlib
from types import ModuleType

from clwm_data.errors import UnavailableError


class MissingExtraError(UnavailableError, ImportError):
    """A package of an optional extra is not installed."""


def require(module: str, extra: str, purpose: str) -> ModuleType:
    """Import ``module``, or say which extra to install.

    Args:
        module: dotted name of the module.
        extra: extra of the clwm distribution that brings it.
        purpose: what it is needed for, as the subject of the message ("collecting cheetah-vel").

    Raises:
        MissingExtraError: the top-level package of ``module`` is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        # A package that is there but broken inside must show its own error, not "please install".
        if error.name is None or error.name.split(".")[0] != module.split(".")[0]:
            raise
        raise MissingExtraError(
            f'{purpose} needs the package {error.name}: pip install "clwm[{extra}]"'
        ) from error
