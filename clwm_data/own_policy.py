"""What a manifest checks of functions that are policies; :mod:`clwm_data.behaviours.own` runs them."""

from __future__ import annotations

import inspect

from clwm_data.errors import ClwmError, ConflictError, InvalidInputError
from clwm_data.functions import find_function, source_sha256

KINDS = (["task", "generator"], ["task"])


def takes_generator(reference: str) -> bool:
    """Whether a function begins an episode; else it gives a policy for many at once.

    Raises:
        NotFoundError: there is no such function.
        InvalidInputError: it takes other parameters.
        UnavailableError: its module cannot be imported.
    """
    function = find_function(reference, "policy")
    try:
        names = list(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        names = []
    if names not in KINDS:
        raise InvalidInputError(
            f"{reference} takes ({', '.join(names)}): write it as function(task, generator), called per "
            "episode, or function(task), for many episodes at once"
        )
    return names == KINDS[0]


def policy_sha256(reference: str, expected: str | None) -> str | None:
    """Digest of the file that holds a policy's function; ``None`` where no file does.

    Raises:
        ConflictError: it is not the expected one.
        ClwmError: as of :func:`takes_generator`.
    """
    takes_generator(reference)
    sha256 = source_sha256(find_function(reference, "policy"))
    if expected is not None and sha256 != expected:
        raise ConflictError(f"the file of {reference} has the sha256 {sha256}, expected {expected}")
    return sha256


def policy_mistake(reference: str, sha256: str | None, noise: float) -> tuple[str, str] | None:
    """The first key of a manifest's entry that does not fit to its function, and why."""
    try:
        if noise and not takes_generator(reference):
            return "noise", "a function(task) gets noise of its own: leave it out"
        policy_sha256(reference, sha256)
    except ConflictError as error:
        return "sha256", str(error)
    except ClwmError as error:
        return "policy", str(error).removeprefix("policy: ")
    return None
