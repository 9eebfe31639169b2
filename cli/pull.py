"""``clwm pull``: download a published store, some of its tasks, or a trained agent."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from clwm_data.errors import InvalidInputError
from clwm_data.families.base import SPLITS
from clwm_data.hub.reference import HubReference, parse_reference
from clwm_data.opening import RUNS
from clwm_data.pages.numbers import plural
from clwm_data.paths import real_path
from clwm_data.ranges import task_list
from clwm_data.store.overview import human_bytes

from .common import echo_json, resumable
from .finding import default_store
from .options import TargetPath, json_option, list_option
from .transfers import bytes_bar, quiet_hub

if TYPE_CHECKING:
    from clwm_data.hub.published import PublishedStore


@click.command()
@click.argument("repo_id")
@click.option("--tasks", help="Only these tasks, e.g. 0-4,7; others can be added later.")
@list_option("--split", "splits", *SPLITS, help="Only the tasks of this split")
@click.option("--revision", help="Tag, branch or commit to download.  [default: the newest]")
@click.option(
    "--out",
    type=TargetPath(),
    help="Folder of the store or the agent.  [default: data/NAME.zarr, runs/NAME]",
)
@json_option
def pull(
    repo_id: str,
    tasks: str | None,
    splits: tuple[str, ...],
    revision: str | None,
    out: Path | None,
    as_json: bool,
) -> None:
    """Download the stores, or the trained agent, of the repository REPO_ID (user/name) from the Hub.

    If it holds several stores, user/name/x.zarr chooses one. Every file is checked against its published
    digest. An interrupted download is resumed by the same command, and more tasks can be added later: the
    store records which are missing.

    \b
    Examples:
      clwm pull user/point-robot
      clwm pull user/point-robot --revision v1 --split train
      clwm pull user/clwm-data/cheetah-vel.zarr --tasks 0-9 --out /data/cheetah.zarr
      clwm pull user/point-robot-spc --out runs/theirs
    """
    quiet_hub()
    reference = _at(parse_reference(repo_id, None), revision)
    if reference.kind == "dataset":
        from clwm_data.hub.client import NoRepositoryError
        from clwm_data.hub.published import find_published

        try:
            stores = find_published(reference)
        except NoRepositoryError as error:
            # A bare user/repo may be either.
            if error.other_kind is None or "://" in repo_id:
                raise
            reference = replace(reference, kind=error.other_kind)
    if reference.kind == "model":
        if tasks is not None or splits:
            raise InvalidInputError(
                f"{reference}: is a trained agent, which has no tasks: drop --tasks and --split"
            )
        done = [_pull_agent(reference, out or RUNS / reference.repository.split("/")[1], as_json)]
    else:
        if len(stores) > 1 and (tasks is not None or out is not None):
            names = ", ".join(f"{reference.repository}/{store.folder}" for store in stores)
            raise InvalidInputError(
                f"{repo_id}: holds several stores; for --tasks or --out name one: {names}"
            )
        done = [_pull(store, out or default_store(store.folder), tasks, splits, as_json) for store in stores]
    if as_json:
        echo_json(done)


def _at(reference: HubReference, revision: str | None) -> HubReference:
    """The reference, at the revision that the option names."""
    if revision is None:
        return reference
    if reference.revision not in (None, revision):
        raise InvalidInputError(
            f"{reference}: names another revision than --revision {revision}: drop one of them"
        )
    return parse_reference(str(replace(reference, revision=revision)), reference.kind)


def _pull(
    published: PublishedStore, out: Path, tasks: str | None, splits: tuple[str, ...], as_json: bool
) -> dict[str, object]:
    from clwm_data.hub.pull import download

    arrived = 0
    with resumable(), bytes_bar(f"downloading {published.folder}") as advance:

        def on_progress(size: int, total: int) -> None:
            nonlocal arrived
            arrived += size
            advance(size, total)

        store = download(
            published, real_path(out), tasks=tasks, splits=splits or None, on_progress=on_progress
        )
    if not as_json:
        what = f"{human_bytes(arrived)} downloaded and checked" if arrived else "nothing new to download"
        click.echo(f"{out}: {plural(len(store.tasks), 'task')}, {what}; commit {published.commit[:12]}")
    if store.missing_tasks:
        click.echo(f"not in the store: {task_list(store.missing_tasks)}", err=True)
    return {
        "path": str(out),
        "commit": published.commit,
        "bytes": arrived,
        "tasks": list(store.tasks),
        "missing_tasks": list(store.missing_tasks),
    }


def _pull_agent(reference: HubReference, out: Path, as_json: bool) -> dict[str, object]:
    from clwm_train.runs.finding import pull_run

    with resumable():
        commit = pull_run(reference, real_path(out))
    if not as_json:
        click.echo(f"{out}: a trained agent; commit {commit[:12]}; `clwm eval {out}` evaluates it")
    return {"path": str(out), "commit": commit}
