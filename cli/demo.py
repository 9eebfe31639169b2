"""``clwm demo``: the whole chain on the embedded default."""

from __future__ import annotations

import json
import time
from pathlib import Path

import click

from clwm_data.collection.collector import collect as collect_store
from clwm_data.errors import DamagedDataError
from clwm_data.extras import require
from clwm_data.manifest import load_manifest
from clwm_data.store.validate import validate as validate_store

from .common import progress_bar
from .eval import echo_results
from .train import train_with_bar

NAME = "point-robot"


@click.command()
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("demo"), show_default=True, help="Folder."
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of the training.")
@click.option("--steps", type=click.IntRange(1), help="Updates of the training.  [default: the preset's]")
def demo(out: Path, seed: int, steps: int | None) -> None:
    """Collect point-robot, validate it, train SPC, evaluate it, and draw what it does.

    Takes minutes on two CPU cores. What an earlier call left in the folder is used again.

    \b
    Examples:
      clwm demo
      clwm demo --out another-demo --seed 1
    """
    require("gymnasium", "sim", "the demo")
    require("torch", "train", "the demo")
    from clwm_data.families import get_family
    from clwm_train.evaluation import evaluate
    from clwm_train.methods.resolve import resolve
    from clwm_train.report.point_robot_figure import point_robot_figure
    from clwm_train.runs.loading import load_agent
    from clwm_train.runs.run import RECORD, create_run, open_run, resolve_for
    from clwm_train.settings import Execution

    began = time.monotonic()
    family = get_family(NAME)
    path, folder = out / f"{NAME}.zarr", out / f"{NAME}-spc-s{seed}"

    _headline(1, f"collect {path}")
    with progress_bar(None, "episode", "collecting") as bar:

        def progress(episodes: int, total: int) -> None:
            bar.total = total
            bar.update(episodes - bar.n)

        store = collect_store(load_manifest(NAME), path, on_progress=progress)
    click.echo(
        f"{len(store.tasks)} tasks, {sum(t.record.transitions for t in store.tasks.values()):,} transitions"
    )

    _headline(2, f"validate {path}")
    if findings := validate_store(path):
        raise DamagedDataError(
            f"{findings[0]} (and {len(findings) - 1} more): delete {path} and run the demo again"
        )
    click.echo("every file matches its digest, every value is in its range")

    _headline(3, f"train {folder}")
    if (folder / RECORD).exists():
        run = open_run(folder)
    else:
        overrides = [] if steps is None else [f"steps={steps}"]
        config = resolve_for(family, resolve("spc", "tiny", overrides))
        run = create_run(folder, store, family, config, method="spc", preset="tiny", seeds=(seed,))
    train_with_bar(run, store, execution=Execution(), steps=steps or run.config.steps)

    _headline(4, "evaluate")
    agent = load_agent(run)
    results = evaluate(agent, family, store.tasks)[0]
    echo_results(results)
    (out / "results.json").write_text(json.dumps(results, indent=2), encoding="utf-8")

    picture = out / "demo.svg"
    point_robot_figure(agent, family, store.tasks, picture)
    _headline(5, f"look at {picture}")
    click.echo(f"table as JSON: {out / 'results.json'}; all in {time.monotonic() - began:.0f} s")


def _headline(number: int, text: str) -> None:
    click.secho(f"\n{number}/5  {text}", bold=True)
