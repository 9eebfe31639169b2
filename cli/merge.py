"""``clwm merge``: several stores as one."""

from __future__ import annotations

from pathlib import Path

import click

from clwm_data.edit import merge as merge_stores

from .common import echo_store
from .completion import names, stores
from .finding import find_store
from .options import TargetPath


@click.command()
@click.argument("sources", nargs=-1, required=True, shell_complete=names(stores))
@click.option("--out", type=TargetPath(), required=True, help="Folder of the new store.")
def merge(sources: tuple[str, ...], out: Path) -> None:
    """Make one store from SOURCES, which must be of the same family.

    SOURCES are paths, or names of stores under data/; they are not changed. The episodes of a task that
    several of them hold are joined; an episode that is in two of them is an error. Episodes are identified
    by their seeds: collect what is to be merged with different seeds, as the bundled manifests do.

    \b
    Examples:
      clwm merge here.zarr there.zarr --out data/both.zarr
      clwm merge cheetah-vel-medium cheetah-vel-expert --out data/cheetah-vel-mixed.zarr
    """
    echo_store(merge_stores([find_store(source) for source in sources], out))
