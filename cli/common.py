"""What several verbs share: finding stores, output for people and for machines, progress bars."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import click
from tqdm import tqdm

from clwm_data.errors import ClwmError
from clwm_data.store import Store

DATA = Path("data")
RUNS = Path("runs")


def default_store(name: str) -> Path:
    """Where the store of a dataset lies unless the user says otherwise."""
    return DATA / f"{name}.zarr"


def find_store(text: str) -> Path:
    """The store that a user means: a path, or the name of one under ``data/``.

    Raises:
        ClwmError: there is neither.
    """
    path = Path(text)
    if path.exists():
        return path
    named = default_store(text.removesuffix(".zarr"))
    if named.exists() and path.name == text:
        return named
    there = sorted(entry.stem for entry in DATA.glob("*.zarr")) if DATA.is_dir() else []
    hint = f"stores under {DATA}/: {', '.join(there)}" if there else "`clwm collect MANIFEST` makes one"
    raise ClwmError(f"no store {text!r}, neither a path nor under {DATA}/: {hint}")


def echo_json(value: Any) -> None:
    """Print one JSON document."""
    click.echo(json.dumps(value, indent=2, allow_nan=False))


def echo_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print an aligned table; numbers, recognised by their first character, to the right."""
    lines = [list(header), *[list(row) for row in rows]]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    for number, line in enumerate(lines):
        reference = lines[1] if len(lines) > 1 else header
        cells = [
            cell.rjust(width) if reference[column][:1] in "-0123456789" else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        click.echo("  ".join(cells).rstrip())
        if number == 0:
            click.echo("  ".join("-" * width for width in widths))


def progress_bar(total: int | None, unit: str, description: str) -> tqdm[Any]:
    """A progress bar on stderr; silent when that is not a terminal."""
    return tqdm(total=total, unit=unit, desc=description, disable=None, dynamic_ncols=True)


def human_bytes(number: int) -> str:
    """A size for people: ``1.4 MB`` (decimal units)."""
    size = float(number)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead.")


def echo_store(store: Store) -> None:
    """One line about a store that was just made."""
    transitions = sum(task.record.transitions for task in store.tasks.values())
    click.echo(f"{store.path}: {len(store.tasks)} tasks, {transitions:,} transitions")
