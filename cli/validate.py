"""``clwm validate``: check that every byte and every value of a store is what it should be."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from clwm_data.opening import open_store
from clwm_data.pages.numbers import plural
from clwm_data.ranges import task_list
from clwm_data.store.litter import foreign_entries
from clwm_data.store.replay import ReplayReport
from clwm_data.store.replay import replay as replay_store
from clwm_data.store.soundness import Finding
from clwm_data.store.summary import missing_provenance
from clwm_data.store.validate import validate as validate_store

from .common import echo_json, progress_bar, shown_path
from .completion import names, stores
from .finding import find_store
from .numbers import Count, Seed
from .options import json_option


def _episodes(ctx: click.Context, option: click.Parameter, text: str | None) -> int | str | None:
    """A number of episodes, or ``all``."""
    return text if text is None or text == "all" else int(Count()(text, option, ctx))


@click.command()
@click.argument("store", shell_complete=names(stores))
@click.option(
    "--replay",
    metavar="N|all",
    callback=_episodes,
    help="Also re-simulate N episodes of every task, drawn at random, or all, from their seeds and actions, "
    "and compare.",
)
@click.option(
    "--seed",
    type=Seed(),
    help="Seed of --replay: draws the same episodes again.  [default: random; it is printed]",
)
@json_option
def validate(store: str, replay: int | str | None, seed: int | None, as_json: bool) -> None:
    """Check STORE: schema, episode index, digests, finite values, ranges.

    Prints one line per finding and exits with 1 when there are any. With --replay the stored actions are
    simulated again: observations and rewards must agree, to the bit if versions and machine are the same.

    \b
    Examples:
      clwm validate point-robot
      clwm validate point-robot --replay 3
      clwm validate point-robot --replay all
      clwm validate data/point-robot.zarr --json
    """
    path = find_store(store)
    opened = open_store(path)
    with progress_bar(len(opened.record.tasks), "task", "validating") as bar:
        findings = validate_store(path, on_progress=lambda _: bar.update())
    report = (
        _replay(path, None if replay == "all" else int(replay), seed, len(opened.tasks))
        if replay and not findings
        else None
    )
    findings += report.findings if report else []
    if as_json:
        echo_json(
            {
                "store": str(path),
                "valid": not findings,
                "missing_tasks": list(opened.missing_tasks),
                "findings": [{"where": finding.where, "what": finding.what} for finding in findings],
                "warnings": missing_provenance(opened),
                "replay": None if report is None else _summary(report),
            }
        )
    else:
        _echo(path, findings, len(opened.record.tasks), report)
        for warning in missing_provenance(opened):
            click.echo(f"warning: {warning}", err=True)
        for entry in foreign_entries(path):
            click.echo(f"note: {entry}: is not a part of the store, and was not checked", err=True)
        if replay and report is None:
            click.echo("not re-simulated: fix the findings first", err=True)
        if opened.missing_tasks:
            click.echo(f"not in the store: {task_list(opened.missing_tasks)}", err=True)
    if findings:
        sys.exit(1)


def _replay(path: Path, episodes: int | None, seed: int | None, tasks: int) -> ReplayReport:
    with progress_bar(tasks, "task", "re-simulating") as bar:
        return replay_store(path, episodes, lambda _: bar.update(), seed=seed)


def _echo(path: Path, findings: list[Finding], tasks: int, report: ReplayReport | None) -> None:
    for finding in findings:
        click.echo(str(finding))
    if report is not None:
        click.echo(f"{shown_path(path)}: {report}")
    if not findings:
        click.echo(f"{shown_path(path)}: valid, {plural(tasks, 'task')}")


def _summary(report: ReplayReport) -> dict[str, object]:
    return {
        "episodes": report.episodes,
        "steps": report.steps,
        "total_steps": report.total,
        "steps_equal_to_the_bit": report.to_the_bit,
        "seed": report.seed,
        "bit_exact": report.to_the_bit == report.total,
        "differences": list(report.differences),
    }
