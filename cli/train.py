"""``clwm train``: from a store to a run."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from dataclasses import astuple
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Self

import click
from click.core import ParameterSource

from clwm_data.errors import ClwmError
from clwm_data.extras import require
from clwm_data.opening import RUNS, open_store
from clwm_data.ranges import format_indices, parse_indices

from .common import echo_table, progress_bar
from .finding import find_store
from .settings_options import execution_options

if TYPE_CHECKING:
    from clwm_data.store import Store
    from clwm_train.runs.run import Run
    from clwm_train.settings import Execution
    from clwm_train.training.profile import Shares

#: Seeds that ``--seeds`` takes.
LARGEST_SEED = 999


def _list_methods(ctx: click.Context, option: click.Parameter, wanted: bool) -> None:
    """Print the table of methods and stop."""
    if not wanted:
        return
    require("torch", "train", "listing methods")
    from clwm_train.methods.listing import list_methods

    header = ("method", "what trains the context encoder", "backbone", "world model", "networks", "reference")
    echo_table(header, [astuple(method) for method in list_methods()])
    ctx.exit()


@click.command()
@click.argument("store")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Folder of the run.  [default: runs/NAME-METHOD-sSEEDS]",
)
@click.option("--method", default="spc", show_default=True, help="Bundled name, or the path of a YAML file.")
@click.option("--preset", default="tiny", show_default=True, help="tiny, small or paper; or a YAML file.")
@click.option("--steps", type=click.IntRange(1), help="Updates in all.  [default: the preset's]")
@click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of everything random."
)
@click.option("--seeds", help="Instead of --seed, several trained together as one run: 0-5 or 0,3,7.")
@execution_options("auto", "threads", "compile", "memory")
@click.option(
    "--precision",
    type=click.Choice(["fp32", "mixed", "bf16"]),
    help="Of matrix products; mixed and bf16 are quicker and less exact: docs/training.md.  [default: fp32]",
)
@click.option(
    "--profile", is_flag=True, help="Write trace.json of some updates into the run; print each part's share."
)
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Override a key of the configuration; repeatable.",
)
@click.option("--resume", is_flag=True, help="Continue the run in --out from its latest checkpoint.")
@click.option(
    "--list-methods",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_list_methods,
    help="Print the bundled methods and exit.",
)
@click.pass_context
def train(
    ctx: click.Context,
    store: str,
    out: Path | None,
    method: str,
    preset: str,
    steps: int | None,
    seed: int,
    seeds: str | None,
    execution: Execution,
    precision: str | None,
    profile: bool,
    overrides: tuple[str, ...],
    resume: bool,
) -> None:
    """Train an agent on STORE: a path, the name of a store under data/, or user/repo on the Hub.

    The run's folder gets the resolved configuration, metrics (JSON lines and TensorBoard) and checkpoints.
    Interrupted runs continue with --resume, to the bit as if they had never stopped.

    \b
    Examples:
      clwm train --list-methods
      clwm train point-robot
      clwm train cheetah-vel --preset small --seed 1
      clwm train cheetah-vel --preset paper --seeds 0-5 --precision bf16
      clwm train point-robot --method focal --steps 2000 --out runs/focal
      clwm train point-robot --set iql.expectile=0.9 --set objectives.infonce.radius=100
      clwm train point-robot --resume --steps 8000
      clwm train user/point-robot@v1
    """
    require("torch", "train", "training")
    from clwm_data.cache import cache_folder
    from clwm_train.methods.resolve import resolve
    from clwm_train.runs.run import TRACE, create_run, open_run, resolve_for
    from clwm_train.training.decide import decide_execution

    chosen = _seeds(ctx, seed, seeds)
    if precision is not None:
        overrides = (*overrides, f"precision={precision}")
    data = open_store(find_store(store))
    target = out or RUNS / f"{data.name}-{Path(method).stem}-s{format_indices(chosen)}"
    if resume:
        run = open_run(target)
        _refuse_other_configuration(ctx, run, method, preset, chosen, overrides)
        config = run.config
    else:
        family = data.task_family
        changed = overrides if steps is None else (*overrides, f"steps={steps}")
        config = resolve_for(family, resolve(method, preset, changed))
    execution = decide_execution(
        execution, data, config.steps, note=lambda text: click.echo(f"{target}: {text}", err=True)
    )
    if not resume:
        run = create_run(target, data, family, config, method=method, preset=preset, seeds=chosen)
    click.echo(f"{target}: {run.record.method} on {data.name}, {len(run.record.train_tasks)} train tasks")
    if execution.compile:
        click.echo(f"{target}: the update is compiled first, which may take a minute or two", err=True)
    if execution.memory == "mmap":
        click.echo(f"{target}: the data is mapped from files in {cache_folder('mapped')}", err=True)
    total = steps or run.config.steps
    shares = partial(_echo_shares, target / TRACE) if profile else None
    done = train_with_bar(run, data, execution=execution, steps=total, profiled=shares)
    if not done:
        click.echo(f"clwm: interrupted: the same command with --resume continues {target}", err=True)
        sys.exit(130)
    click.echo(f"{target}: {total} updates done; `clwm eval {target}` evaluates it")


def train_with_bar(
    run: Run,
    store: Store,
    *,
    execution: Execution,
    steps: int,
    profiled: Callable[[Shares], None] | None = None,
) -> bool:
    """Train under a progress bar until done or interrupted; whether all steps are done."""
    from clwm_train.training.train import train_run

    description = f"training {run.record.method}"
    with StopOnSignal() as stopped, progress_bar(steps, "update", description) as bar:

        def progress(done: int, figures: dict[str, float]) -> None:
            bar.update(done - bar.n)
            if figures and done % run.config.log_every == 0:
                bar.set_postfix({name.split("/")[-1]: f"{figures[name]:.3g}" for name in _shown(figures)})

        return train_run(
            run,
            store,
            execution=execution,
            steps=steps,
            stop=stopped,
            progress=progress,
            profiled=profiled,
        )


class StopOnSignal:
    """Asks the loop to stop after the current update; a second Ctrl-C stops at once."""

    def __init__(self) -> None:
        self._stop = False

    def __call__(self) -> bool:
        """Whether a signal came."""
        return self._stop

    def __enter__(self) -> Self:
        self._before = {
            number: signal.signal(number, self._handle) for number in (signal.SIGINT, signal.SIGTERM)
        }
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self._stop = True
        signal.signal(number, signal.default_int_handler)


def _seeds(ctx: click.Context, seed: int, seeds: str | None) -> tuple[int, ...]:
    """The seeds that ``--seed`` or ``--seeds`` names."""
    if seeds is None:
        return (seed,)
    if ctx.get_parameter_source("seed") != ParameterSource.DEFAULT:
        raise click.UsageError("--seed and --seeds exclude each other")
    return parse_indices(seeds, range(LARGEST_SEED + 1), "seed")


def _echo_shares(trace: Path, shares: Shares) -> None:
    echo_table(("part", "share"), [(name, f"{100.0 * share:.1f} %") for name, share in shares.items()])
    click.echo(f"{trace}: for chrome://tracing or ui.perfetto.dev")


def _refuse_other_configuration(
    ctx: click.Context, run: Run, method: str, preset: str, seeds: tuple[int, ...], overrides: tuple[str, ...]
) -> None:
    """A resumed run keeps its configuration; options that say otherwise are a mistake worth telling."""
    from clwm_train.methods.resolve import resolve
    from clwm_train.runs.run import resolve_for

    has = {"method": run.record.method, "preset": run.record.preset}
    said: dict[str, Any] = {"method": method, "preset": preset}
    for name in ("seed", "seeds"):
        has[name], said[name] = format_indices(run.record.seeds), format_indices(seeds)
    for name, value in said.items():
        if ctx.get_parameter_source(name) != ParameterSource.DEFAULT and value != has[name]:
            raise ClwmError(f"{run.path}: was begun with --{name} {has[name]}: drop --{name} {value}")
    if overrides:
        config = resolve_for(run.task_family, resolve(run.record.method, run.record.preset, overrides))
        if config.model_copy(update={"steps": run.config.steps}) != run.config:
            raise ClwmError(f"{run.path}: was begun with other --set values: drop --set to resume it")


def _shown(figures: dict[str, float]) -> list[str]:
    """The few figures worth a place beside the progress bar."""
    wanted = (
        "temporal_consistency/consistency",
        "decoder/reward",
        "infonce/accuracy",
        "task_classifier/accuracy",
        "focal/different",
        "iql/q",
        "transitions_per_s",
    )
    return [name for name in wanted if name in figures]
