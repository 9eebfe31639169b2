"""``clwm push``: publish a store, or a trained agent, on the Hugging Face Hub."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from clwm_data.extras import require
from clwm_data.opening import open_store
from clwm_data.store.summary import missing_provenance

from .common import (
    echo_json,
    echo_table,
    find_local_store,
    human_bytes,
    progress_bar,
    quiet_hub,
    resumable,
)
from .options import json_option

if TYPE_CHECKING:
    from clwm_data.hub.plan import Plan
    from clwm_data.hub.publication import Publication


@click.command()
@click.argument("source", metavar="STORE|RUN")
@click.argument("repo_id")
@click.option("--private", is_flag=True, help="Make the repository private, if it does not exist yet.")
@click.option("--tag", help="Set this tag on the result, e.g. v1: what readers pin.")
@click.option("--branch", help="Push to this branch instead of the default one.")
@click.option("--dataset", help="Of a RUN: where its data is published, if it was trained before that.")
@click.option("--dry-run", is_flag=True, help="Only list the files and bytes that would be uploaded.")
@json_option
def push(
    source: str,
    repo_id: str,
    private: bool,
    tag: str | None,
    branch: str | None,
    dataset: str | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Publish STORE as a dataset, or RUN as a model, in the repository REPO_ID (user/name) of the Hub.

    A store must be valid, the agent of a run evaluated. Only what changed is uploaded; an interrupted push is
    resumed by the same command. Several stores can live in one repository. Log in with `hf auth login`, or
    set HF_TOKEN.

    \b
    Examples:
      clwm push point-robot user/point-robot --tag v1
      clwm push point-robot user/point-robot --dry-run
      clwm push data/cheetah-vel.zarr user/clwm-data --private
      clwm push runs/point-robot-spc-s0 user/point-robot-spc --dataset user/point-robot@v1
    """
    quiet_hub()
    publication = _publication(source, repo_id, branch, dataset)
    if dry_run:
        _show(_plan(publication), repo_id, as_json)
        return
    with resumable(), progress_bar(None, "B", f"uploading to {repo_id}") as bar:
        bar.unit_scale = True

        def progress(size: int, total: int) -> None:
            bar.total = total
            bar.update(size)

        done = publication.push(private=private, tag=tag, progress=progress)
    if as_json:
        echo_json(
            {"url": done.url, "commit": done.commit, "tag": tag, "files": done.files, "bytes": done.bytes}
        )
        return
    what = f"{done.files} files, {human_bytes(done.bytes)} uploaded" if done.files else "nothing to upload"
    click.echo(f"{done.url}: {what}; commit {done.commit[:12]}{f', tag {tag}' if tag else ''}")


def _publication(source: str, repo_id: str, branch: str | None, dataset: str | None) -> Publication:
    from clwm_data.hub.push import publish_store

    if (Path(source) / "run.yaml").is_file():
        require("torch", "train", "publishing a run")
        from clwm_train.hub.agents import publish_run

        return publish_run(Path(source), repo_id, branch, dataset)
    if dataset is not None:
        raise click.BadOptionUsage("dataset", f"--dataset is for runs; {source} is none")
    path = find_local_store(source)
    for gap in missing_provenance(open_store(path)):
        click.echo(f"clwm: the card will say: {gap}", err=True)
    return publish_store(path, repo_id, branch)


def _plan(publication: Publication) -> Plan:
    """What would travel; all of it, where the Hub cannot be asked what it has already."""
    from clwm_data.hub.client import UnreachableError

    try:
        return publication.plan()
    except UnreachableError as error:
        click.echo(f"clwm: {error}", err=True)
        click.echo("clwm: listed is what a new repository would get", err=True)
        return publication.plan_upon(None)


def _show(plan: Plan, repo_id: str, as_json: bool) -> None:
    if as_json:
        files = [{"path": f.path, "bytes": f.bytes, "state": f.state} for f in plan.files]
        echo_json({"repository": repo_id, "bytes": sum(f.bytes for f in plan.uploads), "files": files})
        return
    changing = [file for file in plan.files if file.state != "same"]
    if changing:
        echo_table(("state", "bytes", "file"), [(f.state, str(f.bytes), f.path) for f in changing])
    kept = len(plan.files) - len(changing)
    click.echo(
        f"{repo_id}: {len(plan.uploads)} files, {human_bytes(sum(f.bytes for f in plan.uploads))} to upload, "
        f"{len(changing) - len(plan.uploads)} to delete, {kept} there already"
    )
