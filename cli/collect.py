"""``clwm collect``: from a manifest to a store."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from clwm_data.collection.collector import collect as collect_store
from clwm_data.collection.engine import Engine
from clwm_data.manifest import load_manifest
from clwm_data.ranges import task_list

from .common import echo_store, progress_bar
from .completion import manifests, names
from .finding import default_store
from .numbers import MOST_PROCESSES, Count
from .options import TargetPath


@click.command()
@click.argument("manifest", shell_complete=names(manifests))
@click.option("--out", type=TargetPath(), help="Folder of the store.  [default: data/NAME.zarr]")
@click.option(
    "--tasks", help="Only these of the manifest's tasks, e.g. 0-4,7; the others can be collected later."
)
@click.option(
    "--workers",
    type=Count(most=MOST_PROCESSES),
    help="Processes that simulate.  [default: 1, or all CPUs of a cluster]",
)
@click.option(
    "--engine",
    type=click.Choice(["local", "ray"]),
    default="local",
    show_default=True,
    help="Where to simulate: on this machine, or on a Ray cluster that shares the store's folder.",
)
@click.option(
    "--overwrite",
    is_flag=True,
    help="Collect everything again; the old store is replaced when that is complete.",
)
def collect(
    manifest: str,
    out: Path | None,
    tasks: str | None,
    workers: int | None,
    engine: Engine,
    overwrite: bool,
) -> None:
    """Collect the dataset that MANIFEST describes.

    MANIFEST is a YAML file or the name of a bundled manifest. An interrupted collection is resumed by the
    same command; the result is the same, byte for byte, whatever the interruptions, the workers and the
    engine. --engine ray joins the cluster at RAY_ADDRESS, or one on this machine, or starts one.

    \b
    Examples:
      clwm collect point-robot
      clwm collect mw-reach --workers 2
      clwm collect mw-reach --engine ray --out /shared/mw-reach.zarr
      clwm collect my-data.yaml --out /data/mine.zarr --tasks 0-4,7
    """
    recipe = load_manifest(manifest)
    target = out or default_store(recipe.name)
    with progress_bar(None, "episode", f"collecting {recipe.name}") as bar:

        def on_progress(episodes: int, total: int) -> None:
            bar.total = total
            bar.update(episodes - bar.n)

        try:
            store = collect_store(
                recipe,
                target,
                tasks=tasks,
                engine=engine,
                workers=workers,
                overwrite=overwrite,
                on_progress=on_progress,
            )
        except KeyboardInterrupt:
            bar.close()
            click.echo("clwm: interrupted: the same command resumes", err=True)
            sys.exit(130)
        nothing_to_do = bar.total == 0
    if nothing_to_do:
        click.echo("already complete: nothing was left to collect", err=True)
    echo_store(store)
    if store.missing_tasks:
        click.echo(f"not collected yet: {task_list(store.missing_tasks)}", err=True)
