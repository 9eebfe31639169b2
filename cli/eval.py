"""``clwm eval``: how well a run's agent adapts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from clwm_data.extras import require
from clwm_data.families import SPLITS, get_family
from clwm_data.store import open_store

from .common import chosen_of, echo_json, echo_table, find_run, json_option, store_of_run

if TYPE_CHECKING:
    from clwm_train.evaluate.protocols import Results


@click.command()
@click.argument("run")
@click.option(
    "--protocol", default="few-shot,zero-shot", show_default=True, help="Which to run, separated by commas."
)
@click.option("--split", default="train,id,ood", show_default=True, help="Which tasks, separated by commas.")
@click.option("--episodes", type=click.IntRange(1), default=3, show_default=True, help="Episodes per task.")
@click.option(
    "--context-size",
    type=click.IntRange(1),
    default=600,
    show_default=True,
    help="Transitions of a few-shot context.",
)
@click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of contexts and episodes."
)
@click.option(
    "--checkpoint", type=click.Path(path_type=Path), help="Folder of a checkpoint.  [default: latest]"
)
@click.option("--store", help="Where the run's data is now, if it has moved.")
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda, ...; auto: a GPU if any.")
@click.option(
    "--threads", type=click.IntRange(1), default=1, show_default=True, help="That the simulator may use."
)
@json_option
def eval(
    run: str,
    protocol: str,
    split: str,
    episodes: int,
    context_size: int,
    seed: int,
    checkpoint: Path | None,
    store: str | None,
    device: str,
    threads: int,
    as_json: bool,
) -> None:
    """Evaluate the agent of RUN, the folder of a run or user/repo on the Hub, on the tasks of its family.

    few-shot: the task is inferred from transitions of its own dataset, then the deterministic policy acts.
    zero-shot: nothing is known at the start of an episode; the task is inferred after every step from that
    episode alone. A split that the family does not have is absent from the results. The results of a run on
    this machine are kept in its folder.

    \b
    Examples:
      clwm eval runs/point-robot-spc-s0
      clwm eval runs/point-robot-spc-s0 --protocol few-shot --split id,ood --json
      clwm eval runs/mw-reach-spc-s0 --episodes 10 --threads 2
      clwm eval user/point-robot-spc
    """
    require("torch", "train", "evaluation")
    from clwm_train.api import load_agent, pick_device
    from clwm_train.checkpoint import latest_checkpoint
    from clwm_train.evaluate import Protocol, evaluate
    from clwm_train.evaluate.results import evaluation_of, save_evaluation
    from clwm_train.run import open_run

    path = find_run(run)
    its = open_run(path)
    family = get_family(its.record.family)
    data = open_store(store_of_run(its, store))
    chosen = checkpoint or latest_checkpoint(its.checkpoints)
    of_seeds = evaluate(
        load_agent(its, checkpoint=chosen, device=pick_device(device)),
        family,
        data.tasks,
        protocols=chosen_of("--protocol", protocol, get_args(Protocol)),
        splits=chosen_of("--split", split, SPLITS),
        episodes=episodes,
        context_size=context_size,
        seed=seed,
        threads=threads,
        warn=lambda message: click.echo(f"clwm: {message}", err=True),
    )
    results = of_seeds[0]
    if path == Path(run):  # what was downloaded stays as it is
        evaluation = evaluation_of(
            of_seeds,
            checkpoint=chosen.name,
            episodes=episodes,
            context_size=context_size,
            seed=seed,
            store_sha256=data.record.content_sha256,
        )
        save_evaluation(its, evaluation)
    if as_json:
        echo_json(results)
        return
    click.echo(f"{run}: {its.record.method} on {its.record.store_name}, {episodes} episodes per task")
    echo_results(results)


def echo_results(results: Results) -> None:
    """Print the table of an evaluation."""
    rows = [
        (name, part, f"{entry['return_mean']:.2f}", _success(entry), str(len(entry["tasks"])))
        for name, parts in results.items()
        for part, entry in parts.items()
    ]
    echo_table(("protocol", "split", "return", "success", "tasks"), rows)


def _success(entry: dict[str, Any]) -> str:
    return "-" if "success" not in entry else f"{entry['success']:.2f}"
