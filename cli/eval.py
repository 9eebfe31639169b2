"""``clwm eval``: how well a run's agent adapts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from clwm_data.extras import require
from clwm_data.families import SPLITS, get_family
from clwm_data.opening import open_store

from .common import chosen_of, echo_json, echo_table, find_run, store_of_run
from .options import checkpoint_option, device_option, json_option, run_store_option

if TYPE_CHECKING:
    from clwm_train.evaluate import Inference, PriorName, Protocol, Results
    from clwm_train.runs.run import Run


@click.command()
@click.argument("run")
@click.option(
    "--protocol",
    default="few-shot,zero-shot",
    show_default=True,
    help="Which to run, separated by commas: few-shot, online-context, non-prior, zero-shot.",
)
@click.option("--split", default="train,id,ood", show_default=True, help="Which tasks, separated by commas.")
@click.option("--episodes", type=click.IntRange(1), default=3, show_default=True, help="Episodes per task.")
@click.option(
    "--context-size",
    type=click.IntRange(0),
    default=600,
    show_default=True,
    help="Transitions in a context.",
)
@click.option(
    "--context-sizes",
    metavar="K,K,...",
    help="Evaluate at each of these context sizes instead, and draw the curves.",
)
@click.option(
    "--prior",
    type=click.Choice(["zero", "mean"]),
    default="zero",
    show_default=True,
    help="What a task is taken to be at first: z = 0 (published), or the mean z of the train tasks.",
)
@click.option(
    "--prior-weight",
    type=click.FloatRange(0.0),
    default=0.0,
    show_default=True,
    help="How many transitions the prior counts as; 0: the first one replaces it.",
)
@click.option(
    "--inference",
    type=click.Choice(["encoder", "model"]),
    default="encoder",
    show_default=True,
    help="What infers a task from the agent's own transitions: the context encoder (published), or the world "
    "model's errors.",
)
@click.option(
    "--noise",
    type=click.FloatRange(0.0),
    default=0.0,
    show_default=True,
    help="Noise of the policy's actions, in its standard deviations; 0: its mean action (published).",
)
@click.option(
    "--planner",
    type=click.Choice(["none", "mppi"]),
    default="none",
    show_default=True,
    help="Who acts: the policy, or MPPI with the world model.",
)
@click.option(
    "--planner-set",
    "planner_overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Set a constant of MPPI, e.g. samples=128; repeatable.",
)
@click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of contexts and episodes."
)
@checkpoint_option
@run_store_option
@device_option("cpu")
@click.option(
    "--threads",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="CPU threads, or processes, of the simulator.",
)
@json_option
def eval(
    run: str,
    protocol: str,
    split: str,
    episodes: int,
    context_size: int,
    context_sizes: str | None,
    prior: PriorName,
    prior_weight: float,
    inference: Inference,
    noise: float,
    planner: str,
    planner_overrides: tuple[str, ...],
    seed: int,
    checkpoint: Path | None,
    store: str | None,
    device: str,
    threads: int,
    as_json: bool,
) -> None:
    """Evaluate the agent of RUN, the folder of a run or user/repo on the Hub, on the tasks of its family.

    Protocols differ in where the context comes from that the task is inferred from:

    \b
    few-shot        from the task's own dataset
    online-context  gathered by the agent itself, acting on the prior
    non-prior       gathered by the agent itself: 100 random steps, then acting on all it has seen
    zero-shot       none: the task is inferred after every step from the episode so far

    A split that the family does not have is absent from the results. Normalised returns (0: random actions,
    1: the expert) are shown for families whose reference returns are known. The results of a run on this
    machine are kept in its folder. Of a run of several seeds every seed is evaluated; with --json their
    results are under "seeds".

    \b
    Examples:
      clwm eval runs/point-robot-spc-s0
      clwm eval runs/point-robot-spc-s0 --protocol few-shot --split id,ood --json
      clwm eval runs/point-robot-spc-s0 --protocol online-context,non-prior
      clwm eval runs/point-robot-spc-s0 --context-sizes 0,10,50,200,600
      clwm eval runs/point-robot-spc-s0 --planner mppi --planner-set samples=128
      clwm eval runs/point-robot-spc-s0 --protocol zero-shot --prior mean --inference model
      clwm eval runs/point-robot-spc-s0 --noise 0.3
      clwm eval runs/mw-reach-spc-s0 --episodes 10 --threads 2
      clwm eval user/point-robot-spc
    """
    require("torch", "train", "evaluation")
    from clwm_train.acting.make import make_actor
    from clwm_train.acting.planner.config import planner_config
    from clwm_train.evaluate import Protocol, candidate_tasks, evaluate, make_prior
    from clwm_train.evaluate.results import evaluation_of, save_evaluation
    from clwm_train.execution import pick_device
    from clwm_train.runs.checkpoint import latest_checkpoint
    from clwm_train.runs.loading import load_agent
    from clwm_train.runs.run import open_run

    if planner == "none" and planner_overrides:
        raise click.UsageError("--planner-set needs --planner mppi")
    if planner != "none" and noise:
        raise click.UsageError("--noise is the policy's, and --planner mppi acts: drop one of the two")
    if prior_weight and inference == "model":
        raise click.UsageError("--prior-weight: --inference model counts no transitions: drop one of the two")
    path = find_run(run)
    its = open_run(path)
    family = get_family(its.record.family)
    data = open_store(store_of_run(its, store))
    chosen = checkpoint or latest_checkpoint(its.checkpoints)
    agent = load_agent(its, checkpoint=chosen, device=pick_device(device))
    plan = None if planner == "none" else planner_config(planner_overrides)
    splits = chosen_of("--split", split, SPLITS)
    protocols = chosen_of("--protocol", protocol, get_args(Protocol))
    warned: set[str] = set()

    def warn(message: str) -> None:
        if message not in warned:
            click.echo(f"clwm: {message}", err=True)
        warned.add(message)

    def evaluate_at(protocols: Sequence[Protocol], size: int) -> list[Results]:
        return evaluate(
            agent,
            family,
            data.tasks,
            protocols=protocols,
            splits=splits,
            episodes=episodes,
            context_size=size,
            seed=seed,
            actor=make_actor(agent, plan, seed, noise),
            prior=make_prior(agent, data.tasks, prior, prior_weight, seed),
            candidates=candidate_tasks(agent, data.tasks, seed) if inference == "model" else None,
            threads=threads,
            warn=warn,
        )

    if context_sizes is not None:
        sizes = _sizes(context_sizes)
        own = path == Path(run)
        _curves(evaluate_at, protocols, sizes, its, path if own else Path(), as_json)
        return
    of_seeds = evaluate_at(protocols, context_size)
    if path == Path(run):  # what was downloaded stays as it is
        evaluation = evaluation_of(
            of_seeds,
            checkpoint=chosen.name,
            episodes=episodes,
            context_size=context_size,
            seed=seed,
            store_sha256=data.record.content_sha256,
            prior=prior,
            prior_weight=prior_weight,
            inference=inference,
            planner=plan,
            noise=noise,
        )
        save_evaluation(its, evaluation)
    if as_json:
        echo_json(_by_seed(its, of_seeds))
        return
    click.echo(f"{run}: {its.record.method} on {its.record.store_name}, {episodes} episodes per task")
    for number, results in zip(its.record.seeds, of_seeds, strict=True):
        if len(of_seeds) > 1:
            click.echo(f"seed {number}:")
        echo_results(results)


def _curves(
    evaluate_at: Callable[[Sequence[Protocol], int], list[Results]],
    protocols: Sequence[Protocol],
    sizes: Sequence[int],
    run: Run,
    folder: Path,
    as_json: bool,
) -> None:
    """Evaluate over context sizes; keep, draw and print the curves."""
    from clwm_data.store.atomic import write_json
    from clwm_train.evaluate.curve import FIGURES, context_curves
    from clwm_train.report.curve_figure import curve_figure

    if all(protocol == "zero-shot" for protocol in protocols):
        raise click.UsageError("--context-sizes: zero-shot has no context: name another --protocol as well")
    curves = context_curves(evaluate_at, protocols, sizes)
    document, picture = folder / "context-curve.json", folder / "context-curve.png"
    write_json(document, {"seeds": list(run.record.seeds), "curves": curves})
    curve_figure(curves, picture, title=f"{run.record.method} on {run.record.store_name}")
    if as_json:
        echo_json(_by_seed(run, curves))
        return
    for number, curve in zip(run.record.seeds, curves, strict=True):
        if len(curves) > 1:
            click.echo(f"seed {number}:")
        rows = [
            (name, split, *(f"{value:.2f}" for value in entry["return_mean"]))
            for name in protocols
            if name != "zero-shot"
            for split, entry in curve[name].items()
        ]
        echo_table(("protocol", "split", *(f"K={size}" for size in sizes)), rows)
    click.echo(f"{picture}, {document}: {', '.join(FIGURES)} where known")


def _by_seed(run: Run, found: Sequence[Any]) -> Any:
    """What was found for the one seed of a run, or under "seeds" for each of several."""
    if len(found) == 1:
        return found[0]
    return {"seeds": {str(number): of for number, of in zip(run.record.seeds, found, strict=True)}}


def _sizes(text: str) -> list[int]:
    try:
        sizes = sorted({int(part) for part in text.split(",")})
    except ValueError:
        sizes = [-1]
    if sizes[0] < 0:
        raise click.BadParameter(
            f"{text!r} is not a list of sizes such as 0,10,50,200,600", param_hint="--context-sizes"
        )
    return sizes


def echo_results(results: Results) -> None:
    """Print the table of an evaluation."""
    entries = [(name, part, entry) for name, parts in results.items() for part, entry in parts.items()]
    optional = [
        (title, key)
        for title, key in (("normalised", "normalised_mean"), ("success", "success"))
        if any(key in entry for _, _, entry in entries)
    ]
    rows = [
        (
            name,
            part,
            f"{entry['return_mean']:.2f}",
            *(f"{entry[key]:.3f}" if key in entry else "-" for _, key in optional),
            str(len(entry["tasks"])),
        )
        for name, part, entry in entries
    ]
    echo_table(("protocol", "split", "return", *(title for title, _ in optional), "tasks"), rows)
