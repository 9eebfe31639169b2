"""``clwm report``: a store on one page."""

from __future__ import annotations

from pathlib import Path

import click

from clwm_data.report import write_report
from clwm_data.store import open_store

from .common import find_store, progress_bar


@click.command()
@click.argument("store")
@click.option("--out", type=click.Path(path_type=Path), help="HTML file.  [default: NAME.html]")
@click.option("--pictures/--no-pictures", default=True, help="Film some episodes.  [default: yes]")
def report(store: str, out: Path | None, pictures: bool) -> None:
    """Show STORE on one self-contained page: provenance, tasks, returns, coverage, rewards, episodes.

    STORE is a path, or the name of a store under data/.

    \b
    Examples:
      clwm report point-robot
      clwm report data/cheetah-vel.zarr --out cheetah.html --no-pictures
    """
    path = find_store(store)
    opened = open_store(path)
    target = out or Path(f"{opened.name}.html")
    with progress_bar(len(opened.tasks), "task", "reading") as bar:
        write_report(path, target, pictures=pictures, progress=lambda _: bar.update())
    click.echo(target)
