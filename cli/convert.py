"""``clwm convert``: from other formats and to them."""

from __future__ import annotations

from pathlib import Path

import click

from clwm_data.convert.minari import from_minari, to_minari
from clwm_data.convert.npz import to_npz
from clwm_data.convert.tensors import from_tensors
from clwm_data.ranges import parse_indices

from .common import echo_store, find_store

MOST_TASKS = 100_000


@click.command()
@click.argument("source")
@click.argument("target", type=click.Path(path_type=Path))
@click.option("--from", "origin", type=click.Choice(["minari", "tensors"]), help="Format of SOURCE.")
@click.option("--to", "goal", type=click.Choice(["minari", "npz"]), help="Format of TARGET.")
@click.option("--family", help="With --from: task family of the data.")
@click.option("--tasks", help="With --from: its tasks, e.g. 0-4,7.")
def convert(
    source: str, target: Path, origin: str | None, goal: str | None, family: str | None, tasks: str | None
) -> None:
    """Convert SOURCE to TARGET: to a store with --from, from a store with --to.

    \b
    minari    datasets of Minari, one per task; to Minari and back gives the same store
    tensors   a folder of torch tensors, one per task, of rows [s, a, r, s', terminated]
    npz       one file of flat NumPy arrays

    What a format does not record (episode ends, seeds, behaviours) is inferred or left unknown, and the new
    store says so.

    \b
    Examples:
      clwm convert point-robot ~/.minari/datasets --to minari
      clwm convert ~/.minari/datasets/point-robot data/again.zarr --from minari
      clwm convert published/ data/cheetah.zarr --from tensors --family cheetah-vel
      clwm convert point-robot point-robot.npz --to npz
    """
    if (origin is None) == (goal is None):
        raise click.UsageError("give either --from or --to")
    if goal is not None and (family is not None or tasks is not None):
        raise click.UsageError("--family and --tasks are for --from")
    chosen = None if tasks is None else parse_indices(tasks, range(MOST_TASKS))
    if origin == "tensors":
        if family is None:
            raise click.UsageError("--from tensors needs --family")
        echo_store(from_tensors(source, target, family, chosen))
    elif origin == "minari":
        echo_store(from_minari(source, target, family, chosen))
    elif goal == "minari":
        for name in to_minari(find_store(source), target):
            click.echo(name)
    else:
        click.echo(to_npz(find_store(source), target))
