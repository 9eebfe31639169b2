"""``clwm validate``: is every byte and every value of a store what it should be?"""

from __future__ import annotations

import sys

import click

from clwm_data.ranges import format_indices
from clwm_data.store import open_store
from clwm_data.store.validate import validate as validate_store

from .common import echo_json, find_store, json_option, progress_bar


@click.command()
@click.argument("store")
@json_option
def validate(store: str, as_json: bool) -> None:
    """Check STORE: schema, episode index, digests, finite values, ranges.

    Prints one line per finding and exits with 1 when there are any.

    \b
    Examples:
      clwm validate point-robot
      clwm validate data/point-robot.zarr --json
    """
    path = find_store(store)
    opened = open_store(path)
    with progress_bar(len(opened.record.tasks), "task", "validating") as bar:
        findings = validate_store(path, progress=lambda _: bar.update())
    if as_json:
        echo_json(
            {
                "store": str(path),
                "valid": not findings,
                "missing_tasks": list(opened.missing_tasks),
                "findings": [{"where": finding.where, "what": finding.what} for finding in findings],
            }
        )
    else:
        for finding in findings:
            click.echo(str(finding))
        if not findings:
            click.echo(f"{path}: valid, {len(opened.record.tasks)} tasks")
        if opened.missing_tasks:
            click.echo(f"not in the store: tasks {format_indices(opened.missing_tasks)}", err=True)
    if findings:
        sys.exit(1)
