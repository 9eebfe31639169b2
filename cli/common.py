"""What several verbs share: finding stores, output for people and for machines, progress bars."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from tqdm import tqdm

from clwm_data.errors import ClwmError
from clwm_data.hub.reference import PREFIX, looks_like_reference, parse_reference
from clwm_data.hub.resolve import local_store, locate
from clwm_data.opening import open_store
from clwm_data.paths import store_file
from clwm_data.store import Store

if TYPE_CHECKING:
    from clwm_train.runs.run import Run

DATA = Path("data")
RUNS = Path("runs")


def default_store(name: str) -> Path:
    """Where the store of a dataset lies unless the user says otherwise."""
    return DATA / store_file(name)


def find_store(text: str) -> Path:
    """The store that a user means: a path, the name of one under ``data/``, or one to download from the Hub.

    Raises:
        ClwmError: there is none.
    """
    located = locate(text, DATA)
    if isinstance(located, Path):
        return located
    from clwm_data.hub.cache import cached_store

    quiet_hub()
    with progress_bar(None, "B", f"downloading {text}") as bar:
        bar.unit_scale = True

        def progress(size: int, total: int) -> None:
            bar.total = total
            bar.update(size)

        return cached_store(located, progress)


def find_local_store(text: str) -> Path:
    """The store that a user wants to change or to publish: a path, or the name of one under ``data/``.

    Raises:
        ClwmError: there is none.
    """
    return local_store(text, DATA)


def find_run(text: str) -> Path:
    """The folder of the run that a user means: a path, the name of one under ``runs/``, or one to download
    from the Hub.

    Raises:
        ClwmError: there is none, or it cannot be downloaded.
    """
    for path in _own_runs(text):
        if (path / "run.yaml").is_file():
            return path
    if Path(text).exists() or not looks_like_reference(text) or Path(text).parent in (Path(), RUNS):
        return Path(text)
    from clwm_train.hub.agents import cached_run

    quiet_hub()
    return cached_run(parse_reference(text, "model"))


def is_own(path: Path, text: str) -> bool:
    """Whether what :func:`find_run` found is the user's own run, not a download that stays as it is."""
    return path in _own_runs(text)


def _own_runs(text: str) -> tuple[Path, Path]:
    return Path(text), RUNS / text


def look_at_store(text: str) -> Store:
    """The store that a user means, for a look: of one at an address only the metadata is downloaded.

    Raises:
        ClwmError: there is none.
    """
    if "://" not in text:
        located = locate(text, DATA)
        if isinstance(located, Path):
            return open_store(located)
        text = str(located)
    if text.startswith(PREFIX):
        quiet_hub()
    return open_store(text)


def quiet_hub() -> None:
    """Have the Hub's client draw no bars and print no warnings: the commands say themselves what is up."""
    from huggingface_hub.utils.tqdm import disable_progress_bars

    disable_progress_bars()
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)


@contextmanager
def resumable() -> Iterator[None]:
    """A block that Ctrl-C ends with a word of comfort instead of a traceback."""
    try:
        yield
    except KeyboardInterrupt:
        click.echo("clwm: interrupted: the same command resumes", err=True)
        sys.exit(130)


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


@contextmanager
def counting_bar(description: str, unit: str = "task") -> Iterator[Callable[[int, int], None]]:
    """A progress bar as a callback of (done, total)."""
    with progress_bar(None, unit, description) as bar:

        def on_progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield on_progress


def human_bytes(number: int) -> str:
    """A size for people: ``1.4 MB`` (decimal units)."""
    size = float(number)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def echo_store(store: Store) -> None:
    """One line about a store that was just made."""
    transitions = sum(task.record.transitions for task in store.tasks.values())
    click.echo(f"{store.path}: {len(store.tasks)} tasks, {transitions:,} transitions")


def chosen_of(option: str, text: str, allowed: Any) -> list[Any]:
    """The parts that an option names, separated by commas, in the order of ``allowed``."""
    chosen = [part.strip() for part in text.split(",")]
    for part in chosen:
        if part not in allowed:
            raise click.BadParameter(f"{part!r} is not one of {', '.join(allowed)}", param_hint=option)
    return [part for part in allowed if part in chosen]


def store_of_run(run: Run, given: str | None) -> Path:
    """The data that gives the contexts: where the user says, where it was, or where it was published."""
    from clwm_train.hub.agents import published_dataset

    if given is not None:
        return find_store(given)
    path = Path(run.record.store)
    if path.is_absolute() and path.exists():
        return path
    published = published_dataset(run)
    if published is None:
        raise ClwmError(f"{run.path}: its data is no longer at {path}: say where it is with --store")
    return find_store(str(published))
