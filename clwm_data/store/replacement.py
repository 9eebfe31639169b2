"""A store takes the place of another: built beside it, moved when it is complete."""

from __future__ import annotations

import shutil
from pathlib import Path

from clwm_data.store.lock import locked


def replaced(out: Path) -> Path:
    """Where an old store waits for its removal while the new one takes its place."""
    return out.with_name(f".{out.name}.replaced.partial")


def replace_store(out: Path, replacement: Path) -> None:
    """Put a complete store where an old one is; at every moment one of them is whole.

    Raises:
        ClwmError: another process writes to the old store.
    """
    with locked(out):
        out.rename(replaced(out))
        replacement.rename(out)
    shutil.rmtree(replaced(out))


def finish_killed_replacement(out: Path, replacement: Path) -> None:
    """Do what :func:`replace_store` had left to do if it was killed between its steps."""
    if replacement.exists() and not out.exists():
        replacement.rename(out)
    if replaced(out).exists() and out.exists():
        shutil.rmtree(replaced(out))
