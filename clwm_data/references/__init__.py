"""Reference returns: what random actions and the best known policy get on each task of a family.

They are the one scale on which returns of different tasks and families are compared:
(R - random) / (expert - random), 0 for random actions and 1 for the expert.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field

from clwm_data.errors import ClwmError
from clwm_data.strict import StrictModel, build_model, read_yaml

FOLDER = Path(__file__).parent

Finite = Annotated[float, Field(allow_inf_nan=False)]


class ReferenceRecord(StrictModel):
    """Reference returns of a family, as ``<family>.yaml`` keeps them.

    Attributes:
        family: task family.
        expert_policy: behaviour that is the expert: ``learned`` (its best checkpoint, without noise) or
            ``scripted``.
        expert_sha256: of the learned checkpoint.
        episodes: per task; returns are means over them.
        seed: of their initial states and random actions.
        packages: versions that simulated.
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


def has_references(family: str, folder: Path = FOLDER) -> bool:
    """Whether the reference returns of a family were measured."""
    return (folder / f"{family}.yaml").is_file()


@lru_cache
def reference_record(family: str, folder: Path = FOLDER) -> ReferenceRecord:
    """The reference returns of a family.

    Raises:
        ClwmError: they were not measured yet, or the file is damaged.
    """
    path = folder / f"{family}.yaml"
    if not has_references(family, folder):
        raise ClwmError(
            f"family {family} has no reference returns: no policy has been trained for it; "
            f"`clwm behaviour train {family}` and `clwm behaviour reference {family}` make them"
        )
    return build_model(ReferenceRecord, read_yaml(path))


def normalised_return(returns: ArrayLike, random: float, expert: float) -> NDArray[np.float64]:
    """(R - random) / (expert - random), of returns of one task in any shape.

    Raises:
        ClwmError: the references are equal: there is no scale.
    """
    if random == expert:
        raise ClwmError(f"a random and an expert return of {random} both give no scale")
    return (np.asarray(returns, np.float64) - random) / (expert - random)
