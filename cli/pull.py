"""``clwm pull``: download a published store, or some of its tasks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from clwm_data.errors import ClwmError
from clwm_data.families.base import SPLITS
from clwm_data.hub.reference import parse_reference
from clwm_data.ranges import format_indices

from .common import default_store, human_bytes, progress_bar, quiet_hub, resumable

if TYPE_CHECKING:
    from clwm_data.hub.published import PublishedStore


@click.command()
@click.argument("repo_id")
@click.option("--tasks", help="Only these tasks, e.g. 0-4,7; others can follow later.")
@click.option(
    "--split",
    "splits",
    multiple=True,
    type=click.Choice(SPLITS),
    help="Only the tasks of this split; may be given several times.",
)
@click.option("--revision", help="Tag, branch or commit to download.  [default: the newest]")
@click.option(
    "--out", type=click.Path(path_type=Path), help="Folder of the store.  [default: data/NAME.zarr]"
)
def pull(
    repo_id: str, tasks: str | None, splits: tuple[str, ...], revision: str | None, out: Path | None
) -> None:
    """Download the stores of the dataset repository REPO_ID (user/name) from the Hub.

    Where it holds several, user/name/x.zarr chooses one. Every file is checked against its published digest.
    An interrupted download is resumed by the same command, and more tasks can be added later: the store knows
    which it lacks.

    \b
    Examples:
      clwm pull user/point-robot
      clwm pull user/point-robot --revision v1 --split train
      clwm pull user/clwm-data/cheetah-vel.zarr --tasks 0-9 --out /data/cheetah.zarr
    """
    from clwm_data.hub.published import find_published

    quiet_hub()
    reference = parse_reference(repo_id)
    if revision is not None:
        if reference.revision not in (None, revision):
            raise ClwmError(f"{repo_id}: names another revision than --revision {revision}: drop one of them")
        reference = replace(reference, revision=revision)
    stores = find_published(reference)
    if len(stores) > 1 and (tasks is not None or out is not None):
        names = ", ".join(f"{reference.repository}/{store.folder}" for store in stores)
        raise ClwmError(f"{repo_id}: holds several stores; for --tasks or --out name one: {names}")
    for store in stores:
        _pull(store, out or default_store(store.folder.removesuffix(".zarr")), tasks, splits)


def _pull(published: PublishedStore, out: Path, tasks: str | None, splits: tuple[str, ...]) -> None:
    from clwm_data.hub.pull import pull as pull_store

    arrived = 0
    with resumable(), progress_bar(None, "B", f"downloading {published.folder}") as bar:
        bar.unit_scale = True

        def progress(size: int, total: int) -> None:
            nonlocal arrived
            arrived += size
            bar.total = total
            bar.update(size)

        store = pull_store(published, out, tasks=tasks, splits=splits or None, progress=progress)
    what = f"{human_bytes(arrived)} downloaded and checked" if arrived else "nothing new to download"
    click.echo(f"{out}: {len(store.tasks)} tasks, {what}; commit {published.commit[:12]}")
    if store.missing_tasks:
        click.echo(f"not in the store: tasks {format_indices(store.missing_tasks)}", err=True)
