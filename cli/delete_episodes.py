"""``clwm delete-episodes``: a store without some of its episodes."""

from __future__ import annotations

import click

from clwm_data.edit import delete_episodes as delete_from_store

from .common import echo_store
from .completion import names, stores
from .finding import find_local_store


@click.command()
@click.argument("store", shell_complete=names(stores))
@click.option("--task", type=int, required=True, help="Task of the episodes.")
@click.option("--episodes", required=True, help="Their numbers, from 0, e.g. 0-4,7.")
def delete_episodes(store: str, task: int, episodes: str) -> None:
    """Remove episodes from STORE.

    STORE is a path, or the name of a store under data/. The new store is built beside it and takes its place
    when it is complete. Later episodes are renumbered.

    \b
    Examples:
      clwm delete-episodes point-robot --task 3 --episodes 0-4,7
    """
    echo_store(delete_from_store(find_local_store(store), {task: episodes}))
