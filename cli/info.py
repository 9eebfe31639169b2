"""``clwm info``: what a store holds."""

from __future__ import annotations

from typing import Any

import click

from clwm_data.listing import format_parameters
from clwm_data.manifest import BehaviourEntry
from clwm_data.pages.numbers import plural
from clwm_data.store.history import history
from clwm_data.store.overview import human_bytes
from clwm_data.store.summary import summarise

from .common import echo_json, echo_table
from .completion import names, stores
from .finding import look_at_store
from .options import json_option


@click.command()
@click.argument("store", shell_complete=names(stores))
@json_option
def info(store: str, as_json: bool) -> None:
    """Show what STORE holds: tasks, episodes, returns, size and provenance.

    STORE is a path, the name of a store under data/, or a published one: user/repo or
    hf://datasets/user/repo[@revision][/x.zarr]. Only metadata is read.

    \b
    Examples:
      clwm info point-robot
      clwm info data/point-robot.zarr --json
      clwm info hf://datasets/user/point-robot@v1
    """
    opened = look_at_store(store)
    summary, edited = summarise(opened), opened.record.edited
    if as_json:
        echo_json(summary)
        return
    manifest, provenance = summary["manifest"], summary["provenance"]
    click.echo(f"{summary['name']}  (family {summary['family']}, format {summary['format_version']})")
    if manifest["description"]:
        click.echo(manifest["description"].strip())
    mixture = [BehaviourEntry.model_validate(entry).summary for entry in manifest["behaviours"]]
    facts = {
        "size": ", ".join(
            (
                *(plural(summary[f"{noun}s"], noun) for noun in ("transition", "episode")),
                plural(len(summary["tasks"]), "task"),
                human_bytes(summary["bytes"]),
            )
        ),
        "behaviours": "per task: " + "; ".join(mixture),
        "missing": summary["missing_tasks"] and f"tasks {summary['missing_tasks']}",
        "seed": "" if edited else str(manifest["seed"]),  # of several stores, or of none
        "licence": manifest["licence"] or "not stated",
        "authors": ", ".join(manifest["authors"]) or "not stated",
        "collected": f"{provenance['created']} by `{provenance['command']}` on {provenance['platform']}"
        if provenance["created"]
        else "",
        "downloaded": "" if summary["origin"] is None else _origin(summary["origin"]),
        "edited": f"{history(edited)[0]}; no manifest collects it again" if edited else "",
        "versions": ", ".join(f"{name} {version}" for name, version in provenance["packages"].items()),
        "content": f"sha256 {summary['content_sha256']}",
    }
    for name, text in facts.items():
        if text:
            click.echo(f"  {name + ':':12}{text}")
    for warning in summary["warnings"]:
        click.echo(f"  {'warning:':12}{warning}")
    click.echo()
    echo_table(
        ("task", "split", "episodes", "transitions", "return mean", "min", "max", "success", "parameters"),
        [_row(task) for task in summary["tasks"]],
    )


def _origin(origin: dict[str, str]) -> str:
    return f"from {origin['repository']}/{origin['store']}, commit {origin['revision'][:12]}"


def _row(task: dict[str, Any]) -> tuple[str, ...]:
    return (
        str(task["task"]),
        task["split"],
        str(task["episodes"]),
        str(task["transitions"]),
        f"{task['return_mean']:.2f}",
        f"{task['return_min']:.2f}",
        f"{task['return_max']:.2f}",
        "-" if task["success_rate"] is None else f"{task['success_rate']:.2f}",
        format_parameters(task["parameters"]),
    )
