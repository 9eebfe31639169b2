"""``clwm relabel``: new rewards for the same transitions."""

from __future__ import annotations

from pathlib import Path

import click

from clwm_data.edit import relabel as relabel_store

from .common import counting_bar, echo_store
from .completion import names, stores
from .finding import find_store
from .options import TargetPath


@click.command()
@click.argument("source", shell_complete=names(stores))
@click.argument("target", type=TargetPath())
@click.option(
    "--reward",
    required=True,
    help="Reward function: package.module:function, from an installed module or one in this folder.",
)
def relabel(source: str, target: Path, reward: str) -> None:
    """Make a store TARGET from the transitions of SOURCE with new rewards.

    SOURCE is a path, or the name of a store under data/; it is not changed. The function is called once per
    task with arrays of all its transitions: (observation [N, obs], action [N, act], next_observation
    [N, obs], parameters); it returns [N] rewards. The new store records its source and the
    function.

    \b
    Examples:
      clwm relabel point-robot data/near.zarr --reward rewards:near
    """
    with counting_bar(f"relabelling {source}") as on_progress:
        result = relabel_store(find_store(source), target, reward, on_progress=on_progress)
    echo_store(result)
