"""``clwm convert``: from and to other formats."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import click

from clwm_data.convert.conversion import SourceFormat, TargetFormat, convert_from, convert_to
from clwm_data.convert.target import Conversion
from clwm_data.opening import open_store
from clwm_data.store.format import MOST_ACTIONS

from .common import counting_bar, echo_json, echo_store, echo_table
from .completion import names, stores
from .finding import find_store
from .numbers import Count
from .options import TargetPath, UserPath, json_option


@click.command()
@click.argument("source", shell_complete=names(stores))
@click.argument("target", type=TargetPath())
@click.option("--from", "origin", type=click.Choice(get_args(SourceFormat)), help="Format of SOURCE.")
@click.option("--to", "goal", type=click.Choice(get_args(TargetFormat)), help="Format of TARGET.")
@click.option(
    "--family",
    help="With --from: task family of the data, a YAML file that declares one, or a new name.",
)
@click.option("--tasks", help="With --from: the task of each dataset, or only these tasks, e.g. 0-4,7.")
@click.option("--splits", help="With --from: splits of a new family, e.g. train:0-29,id:30-39.")
@click.option(
    "--parameters",
    type=UserPath(),
    help="With --from: parameters of a new family: a CSV file with a column task and one per parameter.",
)
@click.option(
    "--action-bounds",
    metavar="LOW,HIGH",
    multiple=True,
    help="With --from: scale action entries from these bounds; given once, all entries; else once for each."
    "  [default: -1,1]",
)
@click.option(
    "--discrete-actions",
    type=Count(1, MOST_ACTIONS),
    help="With --from: actions are the numbers, from 0, of so many discrete actions.",
)
@click.option(
    "--varies",
    type=click.Choice(["dynamics", "reward"]),
    help="With --from: what differs between the tasks of a new family.  [default: dynamics]",
)
@click.option(
    "--horizon",
    type=Count(),
    help="With --from: steps after which an episode of a new family is truncated.  [default: the longest's]",
)
@click.option(
    "--references",
    type=UserPath(),
    help="With --from: reference returns of a new family: a CSV file with the columns task,random,expert.",
)
@json_option
def convert(source: str, target: Path, origin: str | None, goal: str | None, **options: Any) -> None:
    """Convert SOURCE to TARGET: to a store with --from, from a store with --to.

    \b
    minari    datasets of Minari, one per task; to Minari and back gives the same store
    tensors   a folder of torch tensors, one per task, of rows [s, a, r, s', terminated]
    npz       flat NumPy arrays: one file with all tasks, or, from elsewhere, one file per task
    hdf5      a file per task: flat arrays as in D4RL, or groups data/demo_0 as in robomimic
    parquet   a row per transition; files of a split, which datasets.load_dataset reads, or one per task
    lerobot   datasets of LeRobot, version 3, without pictures: their tasks, or one task each (--from only)

    Datasets and files become tasks in natural order (t2 before t10); a table lists what each became. Every
    episode is checked, and the store is validated before it is moved into place. What a format does not
    record (episode ends, seeds, behaviours) is inferred or left unknown, and the new store says so.

    \b
    Examples:
      clwm convert point-robot ~/.minari/datasets --to minari
      clwm convert ~/.minari/datasets/point-robot data/again.zarr --from minari
      clwm convert published/ data/cheetah.zarr --from tensors --family cheetah-vel
      clwm convert mine/ data/mine.zarr --from hdf5 --family my-robot --splits train:0-7,id:8-9
      clwm convert point-robot point-robot.npz --to npz
    """
    as_json = options.pop("as_json")
    if (origin is None) == (goal is None):
        raise click.UsageError("give either --from or --to")
    if goal is not None:
        for name, value in options.items():
            if value is not None and value != ():
                raise click.UsageError(f"--{name.replace('_', '-')} is for --from")
        written = _export(find_store(source), target, goal)
        if as_json:
            echo_json({"written": written})
        else:
            click.echo("\n".join(written))
        return
    conversion = _import(source, target, str(origin), **options)
    if as_json:
        echo_json({"store": str(conversion.store.path), "tasks": [vars(task) for task in conversion.tasks]})
        return
    rows = [
        [t.source, str(t.task), t.split, str(t.episodes), str(t.transitions), f"{t.mean_return:.2f}"]
        for t in conversion.tasks
    ]
    echo_table(["source", "task", "split", "episodes", "transitions", "mean return"], rows)
    echo_store(conversion.store)


def _export(store: Path, target: Path, goal: Any) -> list[str]:
    """Write a store in another format; returns the names of what was written."""
    with counting_bar(f"writing {target}") as on_progress:
        written = convert_to(store, target, goal, on_progress=on_progress)
    lost = _lost_in_tensors(store) if goal == "tensors" else []
    if lost:
        click.echo(
            f"{target}: rows of tensors hold no {' and no '.join(lost)}: --to npz keeps them", err=True
        )
    return written


def _lost_in_tensors(store: Path) -> list[str]:
    arrays = {name for task in open_store(store) for name in task.arrays}
    return [name.replace("_", " ") for name in ("success", "dense_reward") if name in arrays]


def _import(
    source: str,
    target: Path,
    origin: Any,
    *,
    family: str | None,
    discrete_actions: int | None,
    action_bounds: Sequence[str],
    **described: Any,
) -> Conversion:
    """Make a store. (Seven parameters: options of ``--from`` that exclude each other.)"""
    if family is None and origin != "minari":
        raise click.UsageError(f"--from {origin} needs --family")
    bounds = [_bounds(text) for text in action_bounds]
    if origin == "tensors" and (discrete_actions or bounds):
        raise click.UsageError("--from tensors knows by itself what actions there are")
    if origin == "minari" and discrete_actions:
        raise click.UsageError("--from minari knows by itself how many discrete actions there are")
    if discrete_actions and bounds:
        raise click.UsageError("--action-bounds and --discrete-actions exclude each other")
    if origin == "tensors" and any(value for name, value in described.items() if name != "tasks"):
        raise click.UsageError("--from tensors takes splits and parameters from the family")
    with counting_bar(f"converting {source}") as on_progress:
        return convert_from(
            source,
            target,
            origin,
            family=family,
            action_bounds=([low for low, _ in bounds], [high for _, high in bounds])
            if bounds
            else discrete_actions,
            warn=lambda remark: click.echo(remark, err=True),
            on_progress=on_progress,
            **described,
        )


def _bounds(text: str) -> tuple[float, float]:
    try:
        low, high = map(float, text.split(","))
    except ValueError:
        low = high = 0.0
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise click.BadParameter(
            f"{text!r} is not a pair of bounds such as -2,2", param_hint="--action-bounds"
        )
    return low, high
