"""``clwm analyse``: what a run's representations and world model have learned."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from clwm_data.extras import require
from clwm_data.opening import open_store

from .common import chosen_of, echo_json, echo_table, find_run, store_of_run
from .options import checkpoint_option, device_option, json_option, run_store_option

if TYPE_CHECKING:
    from clwm_train.analyse.analysis import SeedAnalysis


@click.command()
@click.argument("run")
@click.option(
    "--metrics",
    default="probe,disentanglement,open-loop",
    show_default=True,
    help="Which to compute, separated by commas.",
)
@click.option(
    "--contexts", type=click.IntRange(2), default=32, show_default=True, help="Contexts drawn of every task."
)
@click.option(
    "--context-size",
    type=click.IntRange(1),
    default=64,
    show_default=True,
    help="Transitions in each context.",
)
@click.option(
    "--horizon",
    type=click.IntRange(1),
    default=20,
    show_default=True,
    help="Steps of the open-loop prediction.",
)
@click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of contexts and windows."
)
@checkpoint_option
@run_store_option
@device_option("cpu")
@json_option
def analyse(
    run: str,
    metrics: str,
    contexts: int,
    context_size: int,
    horizon: int,
    seed: int,
    checkpoint: Path | None,
    store: str | None,
    device: str,
    as_json: bool,
) -> None:
    """Measure what the task representations and the world model of RUN have learned.

    \b
    probe            R^2, on unseen tasks, of an affine map from z to the task parameters
    disentanglement  DCI and InfoMEC of z, where tasks have several factors (cheetah-ls, walker-ls,
                     finger-ls); needs scikit-learn
    open-loop        errors of the world model, step by step, as it is rolled through stored actions

    Every number is defined in docs/metrics.md. The results of a run on this machine are kept in its folder,
    as analysis.json.

    \b
    Examples:
      clwm analyse runs/point-robot-spc-s0
      clwm analyse runs/cheetah-ls-spc-s0 --metrics disentanglement --json
      clwm analyse runs/cheetah-vel-spc-s0 --metrics open-loop --horizon 50
    """
    require("torch", "train", "analysing")
    from clwm_train.analyse.analysis import PARTS, analyse_run, save_analysis
    from clwm_train.execution import pick_device
    from clwm_train.runs.run import open_run

    path = find_run(run)
    its = open_run(path)
    analysis = analyse_run(
        its,
        open_store(store_of_run(its, store)),
        parts=chosen_of("--metrics", metrics, PARTS),
        checkpoint=checkpoint,
        contexts=contexts,
        context_size=context_size,
        horizon=horizon,
        seed=seed,
        device=pick_device(device),
    )
    if path == Path(run):  # what was downloaded stays as it is
        save_analysis(its, analysis)
    if as_json:
        echo_json(analysis.model_dump(mode="json", exclude_none=True))
        return
    click.echo(f"{run}: {its.record.method} on {its.record.store_name}, {analysis.checkpoint}")
    columns = [_rows(of) for of in analysis.seeds]
    rows = [(*parts[0][:2], *(value for _, _, value in parts)) for parts in zip(*columns, strict=True)]
    echo_table(("metric", "of", *(f"seed {number}" for number in its.record.seeds)), rows)


def _rows(analysis: SeedAnalysis) -> list[tuple[str, str, str]]:
    """Metric, what it is of, value; the same metrics for every seed of a run."""
    rows = [
        ("probe R^2", f"{name}, {split}", f"{value:.3f}")
        for split, of in (analysis.probe or {}).items()
        for name, value in of.items()
    ]
    if analysis.disentanglement is not None:
        scores = analysis.disentanglement.model_dump(exclude={"factors", "importance", "information"})
        factors = ", ".join(analysis.disentanglement.factors)
        rows += [(name, factors, "-" if value is None else f"{value:.3f}") for name, value in scores.items()]
    for split, errors in (analysis.open_loop or {}).items():
        last = len(errors.code)
        for name, of in (("code error", errors.code), ("reward error", errors.reward)):
            rows += [
                (name, f"{split}, after {step} steps", f"{of[step - 1]:.3f}") for step in sorted({1, last})
            ]
    return rows
