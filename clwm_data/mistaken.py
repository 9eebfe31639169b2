"""What a folder is that was named in the place of a store or of a run."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Literal

#: The file that makes a folder a store, or a run; and the verb that makes one.
MARKS = {"store": ("zarr.json", "collect"), "run": ("run.yaml", "train")}
#: Verbs that take one.
TAKERS = {
    "store": "`clwm info` and `clwm train` take stores",
    "run": "`clwm eval` and `clwm report` take runs",
}
MOST_NAMED = 3


def has_lost_its_mark(path: Path) -> bool:
    """Whether a folder holds all of a run but the file that makes it one."""
    whole = (path / "checkpoints").is_dir() and (path / "config.yaml").is_file()
    return whole and not (path / MARKS["run"][0]).is_file()


def not_there(path: Path, wanted: Literal["store", "run"]) -> str:
    """Why a path is no store, or no run, and what may have been meant.

    Args:
        path: without the file that a store or a run has.
        wanted: which of them was expected there.
    """
    mark, verb = MARKS[wanted]
    if not path.exists():
        return f"{path}: {wanted} does not exist; `clwm {verb}` makes one"
    for kind, (other, _) in MARKS.items():
        if kind != wanted and (path / other).is_file():
            return f"{path}: is a {kind}, not a {wanted}: {TAKERS[kind]}"
    if wanted == "store" and (path / "tasks" / mark).is_file():
        return (
            f"{path}: has lost its {mark}, which makes its tasks a store: restore it, or collect or download "
            "the store again"
        )
    if has_lost_its_mark(path):
        return (
            f"{path}: has lost its {MARKS['run'][0]}, which makes its checkpoints a run: restore it, or "
            "train again"
        )
    inside = (
        [str(file.parent) for file in islice(path.glob(f"*/{mark}"), MOST_NAMED)] if path.is_dir() else []
    )
    if inside:
        return f"{path}: is not a {wanted}, but holds some: name one, such as {sorted(inside)[0]}"
    return f"{path}: is not a {wanted}: it has no {mark}; `clwm {verb}` makes one"
