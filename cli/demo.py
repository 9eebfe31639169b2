"""``clwm demo``: the whole workflow on point-robot."""

from __future__ import annotations

import time
from pathlib import Path

import click

import clwm_data
import clwm_train
from clwm_data.extras import require
from clwm_data.pages.numbers import plural
from clwm_data.store.atomic import write_json

from .common import counting_bar, progress_bar
from .eval import echo_results
from .numbers import Count, Seed
from .options import TargetPath

NAME = "point-robot"


@click.command()
@click.option(
    "--out",
    type=TargetPath(),
    default=Path("demo"),
    show_default=True,
    help="Folder of everything that it makes.",
)
@click.option("--seed", type=Seed(), default=0, show_default=True, help="Seed of the training.")
@click.option("--steps", type=Count(), help="Updates of the training.  [default: the preset's]")
def demo(out: Path, seed: int, steps: int | None) -> None:
    """Collect point-robot, validate it, train SPC, evaluate it, and draw what it does.

    Takes minutes on two CPU cores. What an earlier call left in the folder is reused.

    \b
    Examples:
      clwm demo
      clwm demo --out another-demo --seed 1
    """
    require("gymnasium", "sim", "the demo")
    require("torch", "train", "the demo")
    began = time.monotonic()
    path, folder = out / f"{NAME}.zarr", out / f"{NAME}-spc-s{seed}"

    _headline(1, f"collect {path}")
    with counting_bar("collecting", "episode") as on_progress:
        store = clwm_data.collect(NAME, path, on_progress=on_progress)
    click.echo(
        f"{plural(len(store), 'task')}, "
        f"{plural(sum(task.record.transitions for task in store), 'transition')}",
    )

    _headline(2, f"validate {path}")
    if findings := clwm_data.validate(path):
        raise clwm_data.DamagedDataError(
            f"{findings[0]} (and {len(findings) - 1} more): delete {path} and run the demo again"
        )
    click.echo("every file matches its digest, every value is in its range")

    _headline(3, f"train {folder}")
    with progress_bar(steps, "update", folder.name) as bar:

        def on_update(done: int, metrics: dict[str, float]) -> None:
            bar.update(done - bar.n)

        run = clwm_train.train(
            store,
            seeds=seed,
            overrides={} if steps is None else {"steps": steps},
            out=folder,
            resume=True,
            execution=clwm_train.Execution(compile=False),  # it may well be the only training here
            on_progress=on_update,
        )

    _headline(4, "evaluate")
    agent = clwm_train.load_agent(run)
    family = clwm_data.get_family(NAME)
    results = clwm_train.evaluate(agent, family, store.tasks)[0]
    echo_results(results)
    write_json(out / "results.json", results)

    picture = out / "demo.svg"
    clwm_train.point_robot_figure(agent, family, store.tasks, picture)
    _headline(5, f"look at {picture}")
    click.echo(f"table as JSON: {out / 'results.json'}; all in {time.monotonic() - began:.0f} s")


def _headline(number: int, text: str) -> None:
    click.secho(f"\n{number}/5  {text}", bold=True)
