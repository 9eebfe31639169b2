"""One zoo from several training runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from clwm_data.behaviour_training.export import TEAM, Measured, write_zoo
from clwm_data.behaviour_training.folder import RunFolder
from clwm_data.behaviour_training.pool import Pool
from clwm_data.errors import ConflictError
from clwm_data.store.lock import locked
from clwm_data.zoo.card import Card


def combine(
    runs: Sequence[Path],
    out: Path,
    checkpoints: int,
    *,
    measured: Measured | None = None,
    policies: int = TEAM,
) -> Card:
    """Choose checkpoints from several runs of one family, as a run does from its own policies.

    Args:
        runs: at least one; the first is on all tasks that the others are on. They are not changed.
        out: folder to create; the zoo is in ``out/zoo``.
        checkpoints: how many, at least 2.
        measured: called with 0 once the runs have been checked, then with the number of policies measured.
        policies: maximum number of policies that share the tasks of a checkpoint.

    Returns:
        the card of the zoo.

    Raises:
        ClwmError: ``out`` exists, or the runs are damaged or do not match.
    """
    if out.exists() and (not out.is_dir() or any(not path.name.startswith(".") for path in out.iterdir())):
        raise ConflictError(f"{out}: is there already: choose another --out")
    pool = Pool([RunFolder(run) for run in runs])
    with locked(out):
        return write_zoo(pool, RunFolder(out).zoo, checkpoints, measured, policies=policies)
