"""``clwm select``: make a store from a part of another."""

from __future__ import annotations

from pathlib import Path

import click

from clwm_data.edit import select as select_store
from clwm_data.families.base import SPLITS, Split

from .common import counting_bar, echo_store
from .completion import names, stores
from .finding import find_store
from .numbers import FiniteFloat
from .options import TargetPath, list_option


@click.command()
@click.argument("source", shell_complete=names(stores))
@click.argument("target", type=TargetPath())
@click.option("--tasks", help="Only these tasks, e.g. 0-4,7.")
@list_option("--split", "splits", *SPLITS, help="Only the tasks of this split")
@click.option("--behaviour", "behaviours", multiple=True, help="Only episodes by this policy; repeatable.")
@click.option(
    "--min-return", type=FiniteFloat(), help="Only episodes with at least this undiscounted return."
)
@click.option("--episodes", help="Only these episodes of each task, from 0, e.g. 0-9.")
def select(
    source: str,
    target: Path,
    tasks: str | None,
    splits: tuple[Split, ...],
    behaviours: tuple[str, ...],
    min_return: float | None,
    episodes: str | None,
) -> None:
    """Make a store TARGET from the episodes of SOURCE that pass all conditions.

    SOURCE is a path, or the name of a store under data/; it is not changed. The new store records its
    source. Episodes keep their seeds and states, so they can still be re-simulated.

    \b
    Examples:
      clwm select point-robot data/point-robot-train.zarr --split train
      clwm select point-robot data/good.zarr --behaviour scripted --min-return -30
      clwm select point-robot data/few.zarr --tasks 10-14 --episodes 0-9
    """
    with counting_bar(f"selecting from {source}") as on_progress:
        result = select_store(
            find_store(source),
            target,
            tasks=tasks,
            splits=splits or None,
            behaviours=behaviours or None,
            min_return=min_return,
            episodes=episodes,
            on_progress=on_progress,
        )
    echo_store(result)
