"""Shared by several verbs: output for people and for machines, and progress bars."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from clwm_data.pages.aligned import aligned
from clwm_data.pages.numbers import plural

if TYPE_CHECKING:
    from clwm_data.store import Store

    from .progress import ProgressBar


@contextmanager
def resumable() -> Iterator[None]:
    """A block that Ctrl-C ends with exit code 130, and a line that says how to resume."""
    try:
        yield
    except KeyboardInterrupt:
        click.echo("clwm: interrupted: the same command resumes", err=True)
        sys.exit(130)


def echo_json(value: Any) -> None:
    """Print one JSON document."""
    click.echo(json.dumps(value, indent=2, allow_nan=False))


def echo_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print an aligned table."""
    for line in aligned(header, rows):
        click.echo(line)


def progress_bar(total: int | None, unit: str, description: str) -> ProgressBar:
    """A progress bar on stderr; where that is not a terminal, a line every 30 s."""
    from .progress import ProgressBar

    return ProgressBar(total, unit, description)


@contextmanager
def counting_bar(description: str, unit: str = "task") -> Iterator[Callable[[int, int], None]]:
    """A progress bar as a callback of (done, total)."""
    with progress_bar(None, unit, description) as bar:

        def on_progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield on_progress


def shown_path(path: Path) -> Path:
    """A path as a user would type it: relative to the current folder where it lies below it."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def echo_store(store: Store) -> None:
    """One line about a store that was just made."""
    transitions = sum(task.record.transitions for task in store.tasks.values())
    click.echo(
        f"{shown_path(store.path)}: {plural(len(store.tasks), 'task')}, {plural(transitions, 'transition')}"
    )
