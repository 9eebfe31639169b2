"""A store takes the place of another: built beside it, moved when it is complete."""

from __future__ import annotations

import shutil
from pathlib import Path

from clwm_data.store.format import STAGING


def replaced(out: Path) -> Path:
    """Where an old store waits for its removal while the new one takes its place."""
    return out.with_name(f".{out.name}.replaced.partial")


def replace_store(out: Path, replacement: Path) -> None:
    """Put a complete store where an old one is, whose lock is held; at every moment one of them is whole."""
    shutil.rmtree(replacement / STAGING, ignore_errors=True)  # a complete store has none
    out.rename(replaced(out))
    replacement.rename(out)
    shutil.rmtree(replaced(out))


def undo_killed_replacement(out: Path) -> None:
    """Clean up after a :func:`replace_store` that was killed: what had not taken place has not happened."""
    if replaced(out).exists() and out.exists():
        shutil.rmtree(replaced(out))
    elif replaced(out).exists():
        replaced(out).rename(out)
