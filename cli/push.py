"""``clwm push``: publish a store, or a trained agent, on the Hugging Face Hub."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from clwm_data.extras import require
from clwm_data.opening import open_store
from clwm_data.pages.numbers import plural
from clwm_data.paths import real_path
from clwm_data.store.overview import human_bytes
from clwm_data.store.summary import missing_provenance

from .common import echo_json, echo_table, resumable
from .completion import names, runs, stores
from .finding import find_local_store, local_run
from .options import json_option
from .transfers import bytes_bar, quiet_hub

if TYPE_CHECKING:
    from clwm_data.hub.plan import Plan
    from clwm_data.hub.publication import Publication


@click.command()
@click.argument("source", metavar="STORE|RUN", shell_complete=names(stores, runs))
@click.argument("repo_id")
@click.option("--private", is_flag=True, help="Make the repository private, if it does not exist yet.")
@click.option("--tag", help="Set this tag on the result, e.g. v1: what readers pin.")
@click.option("--branch", help="Push to this branch instead of the default one.")
@click.option("--dataset", help="RUN: where its data is published, if it was trained before that.")
@click.option(
    "--author", "authors", multiple=True, help="STORE: author to credit; may be given several times."
)
@click.option("--licence", "--license", help="STORE: SPDX identifier of the licence, such as CC-BY-4.0.")
@click.option(
    "--no-parquet",
    is_flag=True,
    help="STORE: leave out the Parquet files for the Hub's viewer and datasets.load_dataset.",
)
@click.option(
    "--replace",
    is_flag=True,
    help="Push even if published tasks or files would be lost, or another dataset or agent replaced.",
)
@click.option("--dry-run", is_flag=True, help="Only list the files and bytes that would be uploaded.")
@json_option
def push(
    source: str,
    repo_id: str,
    private: bool,
    tag: str | None,
    branch: str | None,
    dataset: str | None,
    authors: tuple[str, ...],
    licence: str | None,
    no_parquet: bool,
    replace: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Publish STORE as a dataset, or RUN as a model, in the repository REPO_ID (user/name) of the Hub.

    A store must be valid, and a run evaluated. A store is published together with Parquet files, one row per
    transition, which the Hub's viewer and datasets.load_dataset read. Only what changed is uploaded; an
    interrupted push is resumed by the same command. Nothing published is lost unless --replace says so.
    Several stores can live in one repository. Log in with `hf auth login`, or set HF_TOKEN.

    \b
    Examples:
      clwm push point-robot user/point-robot --tag v1
      clwm push point-robot user/point-robot --dry-run
      clwm push data/cheetah-vel.zarr user/clwm-data --private
      clwm push runs/point-robot-spc-s0 user/point-robot-spc --dataset user/point-robot@v1
    """
    quiet_hub()
    run = local_run(source)
    if run is not None:
        if authors or licence is not None or no_parquet:
            raise click.UsageError(f"--author, --licence and --no-parquet are for stores; {source} is a run")
        publication = _publication_of_run(run, repo_id, branch, dataset)
    else:
        if dataset is not None:
            raise click.UsageError(f"--dataset is for runs; {source} is not one")
        publication = _publication_of_store(source, repo_id, branch, authors, licence, not no_parquet)
    if dry_run:
        _show(_plan(publication), repo_id, as_json)
        return
    with resumable(), bytes_bar(f"uploading to {repo_id}") as on_progress:
        done = publication.push(private=private, tag=tag, replace=replace, on_progress=on_progress)
    if as_json:
        echo_json({**asdict(done), "tag": tag})
        return
    parts = [f"{plural(done.files, 'file')}, {human_bytes(done.bytes)} uploaded"] if done.files else []
    if done.deleted:
        parts.append(f"{plural(done.deleted, 'file')} deleted")
    what = ", ".join(parts) or "nothing to upload"
    click.echo(f"{done.url}: {what}; commit {done.commit[:12]}{f', tag {tag}' if tag else ''}")


def _publication_of_run(run: Path, repo_id: str, branch: str | None, dataset: str | None) -> Publication:
    require("torch", "train", "publishing a run")
    from clwm_train.hub.agents import publish_run
    from clwm_train.runs.run import open_run

    path = real_path(run)
    publication = publish_run(path, repo_id, branch, dataset)
    record = open_run(path).record
    if dataset is None and record.origin is None:
        click.echo(
            f"clwm: the agent will not say where its data is: push {record.store_name}, then this again with "
            "--dataset USER/REPO; else others have to name the data with --store",
            err=True,
        )
    return publication


def _publication_of_store(
    source: str,
    repo_id: str,
    branch: str | None,
    authors: tuple[str, ...],
    licence: str | None,
    parquet: bool,
) -> Publication:
    from clwm_data.hub.push import publish_store

    path = find_local_store(source)
    publication = publish_store(path, repo_id, branch, authors=authors, licence=licence, parquet=parquet)
    for gap in missing_provenance(open_store(path)):
        if not (authors and gap.startswith("no authors")) and not (licence and gap.startswith("no licence")):
            click.echo(f"clwm: the card will say: {gap}", err=True)
    return publication


def _plan(publication: Publication) -> Plan:
    """The plan of a push; if the Hub cannot be asked what it holds, that of a push to a new repository."""
    from clwm_data.hub.client import UnreachableError

    try:
        return publication.plan()
    except UnreachableError as error:
        click.echo(f"clwm: {error}", err=True)
        click.echo("clwm: this lists what would be pushed to a new repository", err=True)
        return publication.plan_upon(None)


def _show(plan: Plan, repo_id: str, as_json: bool) -> None:
    if as_json:
        files = [{"path": f.path, "bytes": f.bytes, "state": f.state} for f in plan.files]
        size = sum(f.bytes for f in plan.uploads)
        document = {"repository": repo_id, "bytes": size, "deleted": plan.deletions, "losses": [*plan.losses]}
        echo_json({**document, "files": files})
        return
    for loss in plan.losses:
        click.echo(f"clwm: refused without --replace: {loss}", err=True)
    changing = plan.changing(plan.files)
    if changing:
        echo_table(("state", "bytes", "file"), [(f.state, str(f.bytes), f.path) for f in changing])
    kept = len(plan.files) - len(changing)
    click.echo(
        f"{repo_id}: {plural(len(plan.uploads), 'file')}, "
        f"{human_bytes(sum(f.bytes for f in plan.uploads))} to upload, "
        f"{plan.deletions} to delete, {kept} there already"
    )
