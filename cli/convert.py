"""``clwm convert``: from and to other formats."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, Literal

import click

from clwm_data.convert.hdf5 import hdf5_source
from clwm_data.convert.lerobot import lerobot_source
from clwm_data.convert.minari import from_minari, to_minari
from clwm_data.convert.npz import npz_source, to_npz
from clwm_data.convert.parquet import to_parquet
from clwm_data.convert.parquet_source import parquet_source
from clwm_data.convert.source import Source
from clwm_data.convert.tables import MAX_TASKS, TaskTable, parse_splits, read_parameters
from clwm_data.convert.target import Conversion, write_converted
from clwm_data.convert.tensors import from_tensors, to_tensors
from clwm_data.families.stored import FamilyFacts
from clwm_data.opening import open_store
from clwm_data.ranges import parse_indices
from clwm_data.references.table import read_reference_file
from clwm_data.store.format import MOST_ACTIONS

from .common import counting_bar, echo_json, echo_store, echo_table
from .completion import names, stores
from .finding import find_store
from .numbers import Count
from .options import TargetPath, json_option

SOURCE_FORMATS = ("minari", "tensors", "npz", "hdf5", "parquet", "lerobot")
TARGET_FORMATS = ("minari", "tensors", "npz", "parquet")


#: Formats of flat arrays -> how they are read.
SOURCES: dict[str, Callable[[str, Collection[int] | None], Source]] = {
    "npz": npz_source,
    "hdf5": hdf5_source,
    "parquet": parquet_source,
    "lerobot": lerobot_source,
}


@click.command()
@click.argument("source", shell_complete=names(stores))
@click.argument("target", type=TargetPath())
@click.option("--from", "origin", type=click.Choice(SOURCE_FORMATS), help="Format of SOURCE.")
@click.option("--to", "goal", type=click.Choice(TARGET_FORMATS), help="Format of TARGET.")
@click.option("--family", help="With --from: task family of the data, or a new name.")
@click.option("--tasks", help="With --from: the task of each dataset, or only these tasks, e.g. 0-4,7.")
@click.option("--splits", help="With --from: splits of a new family, e.g. train:0-29,id:30-39.")
@click.option(
    "--parameters",
    type=click.Path(path_type=Path),
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
    "--references",
    type=click.Path(path_type=Path),
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
    for remark in conversion.remarks:
        click.echo(remark, err=True)
    if as_json:
        echo_json({"store": str(conversion.store.path), "tasks": [vars(task) for task in conversion.tasks]})
        return
    rows = [
        [t.source, str(t.task), t.split, str(t.episodes), str(t.transitions), f"{t.mean_return:.2f}"]
        for t in conversion.tasks
    ]
    echo_table(["source", "task", "split", "episodes", "transitions", "mean return"], rows)
    echo_store(conversion.store)


def _export(store: Path, target: Path, goal: str) -> list[str]:
    """Write a store in another format; returns the names of what was written."""
    if goal == "npz":
        return [str(to_npz(store, target))]
    with counting_bar(f"writing {target}") as on_progress:
        if goal == "minari":
            return to_minari(store, target, on_progress=on_progress)
        write = to_parquet if goal == "parquet" else to_tensors
        written = [str(path) for path in write(store, target, on_progress=on_progress)]
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
    origin: str,
    *,
    family: str | None,
    tasks: str | None,
    splits: str | None,
    parameters: Path | None,
    varies: Literal["dynamics", "reward"] | None,
    references: Path | None,
    discrete_actions: int | None,
    action_bounds: Sequence[str],
) -> Conversion:
    """Make a store. (Eleven parameters: the options of ``--from``.)"""
    if family is None and origin != "minari":
        raise click.UsageError(f"--from {origin} needs --family")
    bounds = [_bounds(text) for text in action_bounds]
    if origin not in SOURCES and (discrete_actions or (bounds and origin != "minari")):
        raise click.UsageError(f"--from {origin} knows by itself what actions there are")
    if discrete_actions and bounds:
        raise click.UsageError("--action-bounds and --discrete-actions exclude each other")
    described = any(value is not None for value in (splits, parameters, varies, references))
    if origin == "tensors" and described:
        raise click.UsageError("--from tensors takes splits and parameters from the family")
    chosen: Collection[int] | None = None if tasks is None else parse_indices(tasks, range(MAX_TASKS))
    table = None
    if described:
        table = TaskTable(
            None if splits is None else parse_splits(splits),
            None if parameters is None else read_parameters(parameters),
            _facts(varies, references),
        )
    with counting_bar(f"converting {source}") as on_progress:
        if origin == "minari":
            return from_minari(
                source, target, family, chosen, table=table, action_bounds=bounds, on_progress=on_progress
            )
        if origin == "tensors":
            return from_tensors(source, target, str(family), chosen, on_progress=on_progress)
        data = SOURCES[origin](source, chosen)
        if discrete_actions is not None:
            data = data.with_discrete_actions(discrete_actions)
        if bounds:
            data = data.with_action_bounds(bounds)
        return write_converted(data, target, str(family), table=table, on_progress=on_progress)


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


def _facts(varies: Literal["dynamics", "reward"] | None, references: Path | None) -> FamilyFacts | None:
    """What the user says about a new family."""
    if varies is None and references is None:
        return None
    table = None if references is None else read_reference_file(references)
    return FamilyFacts(
        varies=varies or "dynamics",
        references=None if table is None else {str(task): [*pair] for task, pair in table.items()},
    )
