"""``clwm behaviour``: train the policies that collect data."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np
from tqdm import tqdm

from clwm_data.extras import require
from clwm_data.families import get_family
from clwm_data.ranges import parse_indices

from .common import progress_bar
from .completion import families, names
from .group import Group
from .numbers import Count, FiniteFloat
from .options import TargetPath, UserPath
from .settings_options import compile_option

if TYPE_CHECKING:
    from clwm_data.behaviour_training.export import Measured
    from clwm_data.zoo.card import Card

CHECKPOINTS = click.option(
    "--checkpoints",
    type=Count(2, 101),
    default=5,
    show_default=True,
    help="Qualities to keep, from the untrained policy to the best.",
)


@click.group(cls=Group)
def behaviour() -> None:
    """Train the policies that collect data.

    \b
    Examples:
      clwm behaviour train cheetah-vel --out runs/cheetah-vel-behaviour
      clwm behaviour combine runs/all-tasks runs/hard-tasks --out runs/combined
      clwm behaviour reference point-robot
    """


@behaviour.command()
@click.argument("family", shell_complete=names(families))
@click.option("--out", type=TargetPath(), required=True, help="Folder of the run.")
@click.option(
    "--steps",
    type=Count(),
    default=100_000,
    show_default=True,
    help="Environment steps in all, over all tasks.",
)
@CHECKPOINTS
@click.option("--seed", type=Count(0, 2**31), default=0, show_default=True, help="Seed of everything random.")
@click.option(
    "--tasks", default="all", show_default=True, help="Only these tasks, e.g. 7 for a single-task agent."
)
@click.option(
    "--relabelled",
    type=FiniteFloat(0.0, 1.0),
    help="Share of the transitions that are relabelled as another task's, with its reward.  [default: 0.5 "
    "where tasks differ in the reward alone, else 0]",
)
@compile_option("20,000 updates (42,000 steps)")
@click.option("--resume", is_flag=True, help="Continue the run in --out, also beyond its earlier --steps.")
def train(
    family: str,
    out: Path,
    steps: int,
    checkpoints: int,
    seed: int,
    tasks: str,
    relabelled: float | None,
    compile: bool | None,
    resume: bool,
) -> None:
    """Train one task-conditioned policy for all tasks of FAMILY.

    \b
    OUT/zoo               the chosen policies and a card; a manifest collects with them by `zoo: OUT/zoo`
    OUT/curve.jsonl       the learning curve: returns on every task

    \b
    Examples:
      clwm behaviour train cheetah-vel --out runs/cheetah-vel-behaviour
      clwm behaviour train cheetah-vel --out runs/cheetah-vel-behaviour --steps 200000 --resume
    """
    known = get_family(family)
    for module in ("torch", "stable_baselines3", "sb3_contrib"):
        require(module, "behaviour", f"training a behaviour policy for {family}")
    from clwm_data.behaviour_training.crossq import LEARNING_STARTS
    from clwm_data.behaviour_training.folder import RunFolder
    from clwm_data.behaviour_training.run import decide_compiled
    from clwm_data.behaviour_training.run import train as run_training
    from clwm_data.behaviour_training.settings import CurvePoint, TrainingSettings
    from clwm_data.behaviour_training.vec_env import can_relabel
    from clwm_data.zoo.card import read_card

    chosen = parse_indices(tasks, range(len(known.tasks)))
    if relabelled is None:
        relabelled = 0.5 if not known.dynamics_vary and can_relabel(known, chosen) else 0.0
    settings = TrainingSettings(family=family, tasks=list(chosen), seed=seed, relabelled=relabelled)
    if steps <= LEARNING_STARTS:
        click.echo(
            f"clwm: learning begins after {LEARNING_STARTS:,} steps: every checkpoint will be untrained",
            err=True,
        )

    def warn(text: str) -> None:
        click.echo(f"{out}: {text}", err=True)

    compiled = decide_compiled(settings, RunFolder(out), steps, resume=resume, requested=compile, warn=warn)
    if compiled:
        warn("the updates are compiled first, which takes a minute or two where none like them were before")
    with progress_bar(steps, "step", f"training {family}") as bar, _choosing(bar) as measured:

        def on_progress(done: int, last: CurvePoint) -> None:
            bar.update(done - bar.n)
            bar.set_postfix_str(f"mean return {np.mean(last.returns_deterministic):.1f}", refresh=False)

        try:
            zoo = run_training(
                settings,
                RunFolder(out),
                steps=steps,
                checkpoints=checkpoints,
                resume=resume,
                compiled=compiled,
                on_progress=on_progress,
                measured=measured,
            )
        except KeyboardInterrupt:
            bar.close()
            click.echo("clwm: interrupted: the same command with --resume continues", err=True)
            sys.exit(130)
    _report(zoo, read_card(zoo, known))


@behaviour.command(short_help="Choose checkpoints from several training runs together.")
@click.argument("runs", nargs=-1, required=True, type=UserPath())
@click.option("--out", type=TargetPath(), required=True, help="Folder of the combined policies.")
@CHECKPOINTS
@click.option(
    "--policies",
    type=Count(1, 100),
    default=5,
    show_default=True,
    help="Most policies that share the tasks of a checkpoint.",
)
def combine(runs: tuple[Path, ...], out: Path, checkpoints: int, policies: int) -> None:
    """Choose checkpoints from several training RUNS of one family together.

    The runs may differ in their seeds, or be on some of the tasks only (--tasks), such as those that a policy
    for all tasks solves badly: at each quality, several policies share the tasks. Where the robot is
    symmetric (the ants), their mirror images are used, too. The first run has to include all tasks of the
    others; the runs themselves are not changed.

    \b
    OUT/zoo               the chosen policies and a card; a manifest collects with them by `zoo: OUT/zoo`

    \b
    Examples:
      clwm behaviour train hopper-friction --out runs/all-tasks
      clwm behaviour train hopper-friction --tasks 28-39 --out runs/hard-tasks
      clwm behaviour combine runs/all-tasks runs/hard-tasks --out runs/combined
    """
    from clwm_data.behaviour_training.combine import combine as combine_runs
    from clwm_data.behaviour_training.folder import RunFolder

    with _choosing() as measured:
        card = combine_runs(runs, out, checkpoints, measured=measured, policies=policies)
    _report(RunFolder(out).zoo, card)


@contextmanager
def _choosing(before: tqdm[Any] | None = None) -> Iterator[Measured]:
    """A bar that counts measured policies, whose total is unknown; it replaces the bar ``before``."""
    bars: list[tqdm[Any]] = []

    def measured(number: int) -> None:
        if not bars:
            if before is not None:
                before.close()
            bars.append(progress_bar(None, " policies", "choosing checkpoints"))
        bars[0].update(number - bars[0].n)

    try:
        yield measured
    finally:
        for bar in bars:
            bar.close()


def _report(zoo: Path, card: Card) -> None:
    for checkpoint in card.checkpoints:
        returns = checkpoint.returns_deterministic
        origins = [
            f"{steps:,}" + (f" of run {run + 1}" if run else "") + (f" ({symmetry})" if symmetry else "")
            for run, steps, symmetry in checkpoint.origins
        ]
        click.echo(
            f"{zoo / checkpoint.file}: {' + '.join(origins)} steps, return "
            f"{min(returns):.1f} / {np.mean(returns):.1f} / {max(returns):.1f} (min / mean / max over tasks)"
        )


@behaviour.command(short_help="Measure random actions and the expert on every task.")
@click.argument("family", shell_complete=names(families))
@click.option(
    "--out",
    type=TargetPath(),
    help="Folder of FAMILY.yaml.  [default: CLWM_REFERENCES, or ~/.config/clwm/references]",
)
@click.option(
    "--zoo",
    type=UserPath(),
    help="RUN/zoo of `clwm behaviour train`, whose best policy is the expert.",
)
@click.option("--episodes", type=Count(), default=20, show_default=True, help="Episodes per task and policy.")
@click.option("--seed", type=Count(0, 2**31), default=0, show_default=True, help="Seed of the episodes.")
def reference(family: str, out: Path | None, zoo: Path | None, episodes: int, seed: int) -> None:
    """Measure what random actions and the expert earn on every task of FAMILY: 0 and 1 of normalised returns.

    The expert is the scripted policy where there is one, else the best one of the family's trained policies.
    Without --out the results are kept for `clwm eval` and `clwm report`. The reference returns that ship with
    clwm take precedence, so that everybody uses the same scale.

    \b
    Examples:
      clwm behaviour reference mw-door-open
      clwm behaviour reference my-family --zoo runs/my-behaviour/zoo
    """
    from clwm_data.collection.reference_returns import measure_references, write_references
    from clwm_data.references import FOLDER, own_references

    known = get_family(family)
    folder = out or own_references()
    folder.mkdir(parents=True, exist_ok=True)  # fails now rather than after hours of simulation
    with progress_bar(len(known.tasks), "task", f"measuring {family}") as bar:
        record = measure_references(
            known, episodes=episodes, seed=seed, zoo=None if zoo is None else str(zoo), on_progress=bar.update
        )
    path = write_references(folder, record)
    click.echo(
        f"{path}: random {np.mean(record.random):.1f}, {record.expert_policy} {np.mean(record.expert):.1f} "
        "(mean over tasks)"
    )
    if out is None and (FOLDER / path.name).is_file():
        click.echo(
            f"clwm: the reference returns of {family} that ship with clwm are used, not these", err=True
        )
