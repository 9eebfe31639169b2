"""``clwm push``: publish a store on the Hugging Face Hub."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from .common import echo_json, echo_table, find_local_store, human_bytes, json_option, progress_bar, quiet_hub

if TYPE_CHECKING:
    from clwm_data.hub.plan import Plan
    from clwm_data.hub.publication import Publication


@click.command()
@click.argument("source", metavar="STORE")
@click.argument("repo_id")
@click.option("--private", is_flag=True, help="Make the repository private, if it does not exist yet.")
@click.option("--tag", help="Set this tag on the result, e.g. v1: what readers pin.")
@click.option("--branch", help="Push to this branch instead of the default one.")
@click.option("--dry-run", is_flag=True, help="Only list the files and bytes that would be uploaded.")
@json_option
def push(
    source: str,
    repo_id: str,
    private: bool,
    tag: str | None,
    branch: str | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Publish STORE as a dataset in the repository REPO_ID (user/name) of the Hub.

    A store must be valid. Only what changed is uploaded; an interrupted push is resumed by the same command.
    Several stores can live in one repository. Log in with `hf auth login`, or set HF_TOKEN.

    \b
    Examples:
      clwm push point-robot user/point-robot --tag v1
      clwm push point-robot user/point-robot --dry-run
      clwm push data/cheetah-vel.zarr user/clwm-data --private
    """
    quiet_hub()
    publication = _publication(source, repo_id, branch)
    if dry_run:
        _show(publication.plan(), repo_id, as_json)
        return
    with progress_bar(None, "B", f"uploading to {repo_id}") as bar:
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


def _publication(source: str, repo_id: str, branch: str | None) -> Publication:
    from clwm_data.hub.push import publish_store

    return publish_store(find_local_store(source), repo_id, branch)


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
