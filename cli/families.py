"""``clwm families``: what can be simulated."""

from __future__ import annotations

from typing import Any

import click

from clwm_data.families.declared.reading import find_family
from clwm_data.families.registry import working_families
from clwm_data.listing import (
    describe,
    describe_all,
    describe_placement,
    describe_tasks,
    format_parameters,
)
from clwm_data.pages.numbers import plural

from .common import echo_json, echo_table
from .completion import families as known_families
from .completion import names
from .options import json_option


@click.command()
@click.argument("name", required=False, shell_complete=names(known_families))
@click.option("--all", "expand", is_flag=True, help="List every Meta-World family on a line of its own.")
@json_option
def families(name: str | None, expand: bool, as_json: bool) -> None:
    """List all task families or, with NAME, every task of one (a name, or a YAML file that declares one).

    \b
    Examples:
      clwm families
      clwm families --all
      clwm families point-robot
      clwm families mw-door-open --json
      clwm families my-family.yaml
    """
    if name is None:
        _list_families(expand, as_json)
    else:
        _show_family(name, as_json)


def _list_families(expand: bool, as_json: bool) -> None:
    known, broken = working_families()
    for line in broken:
        click.echo(f"clwm: {line}", err=True)
    if as_json:
        echo_json([describe(family) for family in known])
        return
    rows = [describe(family) for family in known] if expand else describe_all(known)
    echo_table(
        ("family", "train", "id", "ood", "obs", "act", "steps", "varies", "what the agent does"),
        [
            (
                row["name"],
                *(str(row["splits"].get(split, 0)) for split in ("train", "id", "ood")),
                str(row["observation_size"]),
                str(row["action_size"]),
                str(row["horizon"]),
                row["varies"],
                row["summary"],
            )
            for row in rows
        ],
    )


def _show_family(name: str, as_json: bool) -> None:
    family = find_family(name)
    facts = describe(family)
    tasks = describe_tasks(family)
    placement = describe_placement(family)
    if as_json:
        echo_json({**facts, "placement": placement, "tasks": tasks})
    else:
        click.echo(f"{family.name}: {facts['summary']}")
        for label, text in _facts(facts, placement).items():
            click.echo(f"  {label + ':':13}{text}")
        click.echo()
        grouped = ("benchmark",) if "group" in tasks[0] else ()
        echo_table(
            ("task", "split", *grouped, "parameters"),
            [
                (
                    str(task["task"]),
                    task["split"],
                    *(task["group"] for _ in grouped),
                    format_parameters(task["parameters"]),
                )
                for task in tasks
            ],
        )


def _facts(facts: dict[str, Any], placement: dict[str, str]) -> dict[str, str]:
    size = facts["action_size"]
    success = "; steps report success" if facts["has_success"] else ""
    return {
        "benchmark": facts["benchmark"],
        "tasks": ", ".join(f"{number} {split}" for split, number in facts["splits"].items()),
        **{f"{split} tasks": f"held out; {where}" for split, where in placement.items()},
        "varies": facts["varies"],
        "observation": plural(facts["observation_size"], "number"),
        "action": f"one of {size}" if facts["discrete"] else f"{plural(size, 'number')} in [-1, 1]",
        "episode": f"{plural(facts['horizon'], 'step')}{success}",
        "behaviours": ", ".join(facts["behaviours"]),
    }
