"""Reference returns: what random actions and the best known policy get on each task of a family.

They define the scale on which returns of different tasks and families are compared:
(R - random) / (expert - random), 0 for random actions and 1 for the expert. For families without shipped
references, ``clwm behaviour reference`` measures them and keeps them in :func:`own_references`.
"""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field

from clwm_data.errors import InvalidInputError, NotFoundError, UnavailableError
from clwm_data.file_state import FileState, file_state
from clwm_data.paths import expand_home
from clwm_data.strict import Finite, StrictModel, build_model, read_yaml

FOLDER = Path(__file__).parent


class ReferenceRecord(StrictModel):
    """Reference returns of a family, as ``<family>.yaml`` keeps them.

    Attributes:
        family: task family.
        expert_policy: the behaviour that serves as expert: ``learned`` (its best checkpoint, without noise)
            or ``scripted``.
        expert_sha256: SHA-256 of the learned checkpoint.
        episodes: episodes per task; returns are means over them.
        seed: seed of their initial states and random actions.
        packages: versions of the packages that simulated them.
        random: [T] mean return of uniform actions.
        expert: [T] mean return of the expert.
    """

    family: str
    expert_policy: str
    expert_sha256: str | None = None
    episodes: int = Field(ge=1)
    seed: int = Field(ge=0)
    packages: dict[str, str]
    random: list[Finite]
    expert: list[Finite]


def own_references() -> Path:
    """Folder of references measured by this user: ``CLWM_REFERENCES``, or one in the user's configuration.

    Raises:
        UnavailableError: neither it nor ``XDG_CONFIG_HOME`` is set, and the user has no home folder.
    """
    if chosen := os.environ.get("CLWM_REFERENCES"):
        return expand_home(chosen)
    try:
        return expand_home(os.environ.get("XDG_CONFIG_HOME") or "~/.config") / "clwm" / "references"
    except InvalidInputError as error:
        raise UnavailableError(
            "there is no home folder to keep reference returns in: set CLWM_REFERENCES"
        ) from error


def has_references(family: str) -> bool:
    """Whether there are reference returns for a family."""
    try:
        return _file(family).is_file()
    except UnavailableError:  # none can have been kept here
        return False


def reference_record(family: str) -> ReferenceRecord:
    """The reference returns of a family: those that ship with clwm, or else those that this user measured.

    Raises:
        NotFoundError: they were not measured yet.
        ClwmError: the file is damaged.
    """
    if not has_references(family):
        raise NotFoundError(
            f"family {family} has no reference returns: `clwm behaviour reference {family}` measures them "
            "(without a scripted policy, `clwm behaviour train` one and name it with --zoo)"
        )
    return read_references(_file(family))


def read_references(path: Path) -> ReferenceRecord:
    """A file of reference returns.

    Raises:
        ClwmError: it cannot be read, or is damaged.
    """
    return _read(path, file_state(path))


@lru_cache
def _read(path: Path, state: FileState) -> ReferenceRecord:
    """Reads a file, cached until it changes (``state``)."""
    return build_model(ReferenceRecord, read_yaml(path))


def _file(family: str) -> Path:
    shipped = FOLDER / f"{family}.yaml"
    return shipped if shipped.is_file() else own_references() / shipped.name


def defines_scale(random: float, expert: float) -> bool:
    """Whether the expert gets more than random actions; else better returns had lower scores, or none."""
    return expert > random


def no_scale(random: float, expert: float) -> str:
    """What is wrong with references that define no scale."""
    return (
        f"random and expert return are {random} and {expert}: the expert's must be higher to define a scale"
    )


def normalised_return(returns: ArrayLike, random: float, expert: float) -> NDArray[np.float64]:
    """(R - random) / (expert - random) for returns of one task, in any shape.

    Raises:
        InvalidInputError: the references define no scale.
    """
    if not defines_scale(random, expert):
        raise InvalidInputError(no_scale(random, expert))
    return (np.asarray(returns, np.float64) - random) / (expert - random)
