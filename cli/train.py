"""``clwm train``: from a store to a run."""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import astuple, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from clwm_data.errors import ConflictError, InvalidInputError
from clwm_data.extras import require
from clwm_data.families import SPLITS
from clwm_data.pages.numbers import plural
from clwm_data.ranges import format_indices

from .common import echo_table, progress_bar
from .completion import methods, names, presets, stores
from .finding import find_store
from .numbers import Count, Seed
from .options import TargetPath, list_option, track_option
from .settings_options import PROTOCOL_NAMES, execution_options
from .signals import StopOnSignal

if TYPE_CHECKING:
    from clwm_data.store import Store
    from clwm_train.runs.run import Run
    from clwm_train.settings import Execution
    from clwm_train.train_store import TrainingRequest
    from clwm_train.training.profile import Shares


def _list_methods(ctx: click.Context, option: click.Parameter, value: bool) -> None:
    """Print the table of methods and stop."""
    if not value:
        return
    require("torch", "train", "listing methods")
    from clwm_train.methods.listing import list_methods

    header = ("method", "what trains the context encoder", "backbone", "world model", "networks", "reference")
    echo_table(header, [astuple(method) for method in list_methods()])
    ctx.exit()


@click.command()
@click.argument("store", required=False, shell_complete=names(stores))
@click.option(
    "--out",
    type=TargetPath(),
    help="Folder of the run.  [default: runs/STORE-NAME-sSEEDS]",
)
@click.option(
    "--name",
    help="Name of the method in tables and figures.  [default: the method and what --set changes]",
)
@click.option(
    "--method",
    default="spc",
    show_default=True,
    shell_complete=names(methods),
    help="Name of a bundled method (--list-methods), or the path of a YAML file.",
)
@click.option(
    "--preset",
    default="tiny",
    show_default=True,
    shell_complete=names(presets),
    help="Sizes of networks and batches: tiny, small or paper, or the path of a YAML file.",
)
@click.option("--steps", type=Count(), help="Updates in all.  [default: the preset's]")
@click.option(
    "--seed",
    type=Seed(),
    default=0,
    show_default=True,
    help="Seed of everything random.",
)
@click.option("--seeds", help="Instead of --seed, several trained together as one run: 0-5 or 0,3,7.")
@execution_options("auto", "threads", "compile", "memory")
@click.option(
    "--precision",
    type=click.Choice(["fp32", "mixed", "bf16"]),
    help="Precision of matrix products; mixed and bf16 are faster and less exact: docs/training.md.  "
    "[default: fp32]",
)
@click.option(
    "--profile",
    is_flag=True,
    help="Write a trace.json of some updates into the run; print the share of each part.",
)
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Override a key of the configuration; repeatable.",
)
@click.option("--eval-every", type=Count(), metavar="N", help="Evaluate the agent after every N updates.")
@list_option(
    "--eval-protocol",
    "eval_protocols",
    *PROTOCOL_NAMES,
    shown_default="few-shot",
    as_given=True,
    help="Protocols of --eval-every, as of `clwm eval`; checkpoints/best is chosen by the first",
)
@list_option(
    "--eval-split",
    "eval_splits",
    *SPLITS,
    shown_default="id",
    as_given=True,
    help="Splits of --eval-every; checkpoints/best is chosen by the first",
)
@track_option("Who shows the metrics", "tensorboard; with --resume, as the run began")
@click.option(
    "--show-config", is_flag=True, help="Print every key of the configuration with its value, and exit."
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
    store: str | None,
    out: Path | None,
    name: str | None,
    method: str,
    preset: str,
    steps: int | None,
    seed: int,
    seeds: str | None,
    execution: Execution,
    precision: str | None,
    profile: bool,
    overrides: tuple[str, ...],
    eval_every: int | None,
    eval_protocols: tuple[str, ...],
    eval_splits: tuple[str, ...],
    track: tuple[str, ...] | None,
    show_config: bool,
    resume: bool,
) -> None:
    """Train an agent on STORE: a path, the name of a store under data/, or user/repo on the Hub.

    The run's folder gets the resolved configuration, metrics (JSON lines and TensorBoard) and checkpoints.
    Nothing is sent anywhere unless --track asks for it (WANDB_MODE=offline keeps wandb's files here, too).
    --resume continues an interrupted run, bit for bit as if it had never stopped; how it is evaluated while
    training may change.

    \b
    Examples:
      clwm train --list-methods
      clwm train --show-config --preset small
      clwm train point-robot
      clwm train cheetah-vel --preset small --seed 1 --eval-every 1000
      clwm train cheetah-vel --preset paper --seeds 0-5 --precision bf16
      clwm train point-robot --method focal --steps 2000 --out runs/focal
      clwm train point-robot --set iql.expectile=0.9 --name "expectile 0.9"
      clwm train point-robot --resume --steps 8000
      clwm train point-robot --track tensorboard,wandb
      clwm train user/point-robot@v1
    """
    if store is None and not show_config:
        raise click.UsageError("Missing argument 'STORE'.")
    require("torch", "train", "training")
    from clwm_data.opening import open_store
    from clwm_train.train_store import TrainingRequest

    chosen = _seeds(ctx, seed, seeds)
    if precision is not None:
        overrides = (*overrides, f"precision={precision}")
    overrides = (*overrides, *_evaluation_overrides(eval_every, eval_protocols, eval_splits))
    changes = overrides if steps is None else (*overrides, f"steps={steps}")
    if store is None:
        _echo_config(method, preset, changes)
        return
    data = open_store(find_store(store))
    request = TrainingRequest(data, method, preset, chosen, changes, name, out)
    if show_config:
        _echo_config(method, preset, changes, data)
    else:
        run = _run_to_resume(ctx, request, overrides) if resume else _new_run(request)
        _train(run, data, execution, steps or run.config.steps, profile, track)


def _new_run(request: TrainingRequest) -> Run:
    from clwm_train.runs.run import check_free

    run = request.describe()
    check_free(run)
    return run


def _run_to_resume(ctx: click.Context, request: TrainingRequest, overrides: tuple[str, ...]) -> Run:
    """The existing run; one that was killed before its record was written starts again."""
    from clwm_train.runs.run import is_unfinished, open_run
    from clwm_train.runs.same_data import check_same_data

    if is_unfinished(request.folder):
        return request.describe()
    run = open_run(request.folder)
    check_same_data(run, request.store)
    _refuse_other_configuration(ctx, run, request, overrides)
    return request.resumed(run)


def _train(
    run: Run,
    store: Store,
    execution: Execution,
    steps: int,
    profile: bool,
    track: Sequence[str] | None,
) -> None:
    from clwm_data.cache import cache_folder
    from clwm_train.runs.checkpoint import latest_checkpoint, list_checkpoints, read_record
    from clwm_train.runs.run import TRACE
    from clwm_train.training.decide import decide_execution

    def warn(text: str) -> None:
        click.echo(f"{target}: {text}", err=True)

    target = run.path
    checkpoints = list_checkpoints(run.checkpoints)
    before = read_record(checkpoints[-1]).step if checkpoints else 0
    if before >= steps:
        click.echo(
            f"{target}: has {plural(before, 'update')}, no more than {steps:,} are asked for: nothing to do"
        )
        return
    decided = decide_execution(execution, store, run.config.steps, note=warn, begun=run.record.compiled)
    click.echo(
        f"{target}: {run.record.method} on {store.name}, {plural(len(run.record.train_tasks), 'train task')}"
    )
    if decided.compile:
        where = "which takes a minute or two where none like it was before"
        click.echo(f"{target}: the update is compiled first, {where}", err=True)
    if decided.memory == "mmap":
        click.echo(f"{target}: the data is mapped from files in {cache_folder('mapped')}", err=True)
    shares = partial(_echo_shares, target / TRACE) if profile else None
    done = train_with_bar(run, store, execution=decided, steps=steps, profiled=shares, track=track, warn=warn)
    with suppress(OSError):  # the terminal was closed
        if not done:
            click.echo(f"clwm: interrupted: the same command with --resume continues {target}", err=True)
            sys.exit(130)
        step = read_record(latest_checkpoint(run.checkpoints)).step
        click.echo(f"{target}: {plural(step, 'update')} done; `clwm eval {target}` evaluates it")


def train_with_bar(
    run: Run,
    store: Store,
    *,
    execution: Execution,
    steps: int,
    profiled: Callable[[Shares], None] | None = None,
    track: Sequence[str] | None = None,
    warn: Callable[[str], object] = warnings.warn,
) -> bool:
    """Train with a progress bar until done or interrupted; returns whether all steps are done."""
    from clwm_train.evaluation.while_training import training_evaluator
    from clwm_train.training.train import train_run

    description = f"training {run.label}"
    with StopOnSignal() as stopped, progress_bar(steps, "update", description) as bar:

        def on_progress(done: int, metrics: dict[str, float]) -> None:
            if metrics and done % run.config.log_every == 0:
                bar.set_postfix({name.split("/")[-1]: f"{metrics[name]:.3g}" for name in _shown(metrics)})
            bar.update(done - bar.n)

        return train_run(
            run,
            store,
            execution=execution,
            steps=steps,
            stop=stopped,
            on_progress=on_progress,
            profiled=profiled,
            evaluator=training_evaluator(run, store),
            trackers=track,
            warn=warn,
        )


def _seeds(ctx: click.Context, seed: int, seeds: str | None) -> tuple[int, ...]:
    """The seeds that ``--seed`` or ``--seeds`` names, each once, ascending."""
    if seeds is None:
        return (seed,)
    if ctx.get_parameter_source("seed") != ParameterSource.DEFAULT:
        raise click.UsageError("--seed and --seeds exclude each other")
    from clwm_train.runs.run import MOST_SEEDS

    ranges = []
    for part in seeds.split(","):
        match = re.fullmatch(r"\s*([0-9]{1,18})\s*(?:-\s*([0-9]{1,18})\s*)?", part)
        if match is None:
            raise InvalidInputError(f"--seeds {seeds}: {part.strip()!r} is not a seed or a range like 0-5")
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first:
            raise InvalidInputError(f"--seeds {seeds}: range {part.strip()} runs backwards")
        ranges.append(range(first, last + 1))
    if sum(map(len, ranges)) > MOST_SEEDS:
        raise InvalidInputError(f"--seeds {seeds}: more than the {MOST_SEEDS:,} seeds that one run can have")
    return tuple(sorted({seed for seeds in ranges for seed in seeds}))


def _evaluation_overrides(every: int | None, protocols: Sequence[str], splits: Sequence[str]) -> list[str]:
    """The options ``--eval-...`` as values of ``--set``."""
    if every is None:
        if protocols or splits:
            raise click.UsageError("--eval-protocol and --eval-split need --eval-every")
        return []
    lists = {"protocols": protocols, "splits": splits}
    return [
        f"evaluation.every={every}",
        *(f"evaluation.{key}=[{', '.join(names)}]" for key, names in lists.items() if names),
    ]


def _echo_config(method: str, preset: str, changes: Sequence[str], store: Store | None = None) -> None:
    """Print a configuration as YAML; with a store, after its family has completed it."""
    from clwm_data.yaml_text import dump_yaml
    from clwm_train.methods.resolve import resolve
    from clwm_train.runs.run import resolve_for

    config = resolve(method, preset, changes)
    if store is not None:
        config = resolve_for(store.task_family, config)
    click.echo(dump_yaml(config.model_dump(mode="json")), nl=False)


def _echo_shares(trace: Path, shares: Shares) -> None:
    echo_table(("part", "share"), [(name, f"{100.0 * share:.1f} %") for name, share in shares.items()])
    click.echo(f"{trace}: for chrome://tracing or ui.perfetto.dev")


def _refuse_other_configuration(
    ctx: click.Context, run: Run, request: TrainingRequest, overrides: tuple[str, ...]
) -> None:
    """Refuse options that contradict the configuration of a resumed run, which is kept."""
    from clwm_train.config.train import RESUMABLE_KEYS
    from clwm_train.methods.method_file import is_path
    from clwm_train.methods.resolve import overridden, resolve
    from clwm_train.runs.differences import differences
    from clwm_train.runs.run import resolve_for
    from clwm_train.train_store import changed_part

    kept = {"method": run.record.method, "preset": run.record.preset, "name": run.label}
    given: dict[str, Any] = {name: getattr(request, name) for name in kept}
    for name in ("seed", "seeds"):
        kept[name], given[name] = format_indices(run.record.seeds), format_indices(request.seeds)
    explicit = [name for name in kept if ctx.get_parameter_source(name) != ParameterSource.DEFAULT]
    for name in explicit:
        if given[name] != kept[name]:
            raise ConflictError(
                f"{run.path}: was begun with --{name} {kept[name]}: drop --{name} {given[name]}"
            )
    files = [kept[name] for name in ("method", "preset") if name in explicit and is_path(kept[name])]
    learned = [text for text in overrides if changed_part(text) not in RESUMABLE_KEYS]
    if files:  # they may have been edited since
        config = resolve(run.record.method, run.record.preset, overrides)
        what, mend = f"other values than {files[0]} and --set give now", f"drop {files[0]} to resume it"
    elif learned:
        config = overridden(run.config, learned)
        named = {changed_part(text) for text in learned}
        options = "--precision" if named == {"precision"} and ctx.params["precision"] else "--set"
        what, mend = f"other {options} values", f"drop {options} to resume it"
    else:
        return
    if changed := differences(run, replace(run, config=resolve_for(run.task_family, config))):
        raise ConflictError(f"{run.path}: was begun with {what} ({changed[0]}): {mend}")


def _shown(metrics: dict[str, float]) -> list[str]:
    """The few metrics worth a place beside the progress bar."""
    few = (
        "temporal_consistency/consistency",
        "decoder/reward",
        "infonce/accuracy",
        "task_classifier/accuracy",
        "focal/different",
        "iql/q",
        "transitions_per_s",
    )
    return [name for name in few if name in metrics]
