"""``clwm eval``: how well a run's agent adapts."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from clwm_data.errors import InvalidInputError
from clwm_data.extras import require
from clwm_data.opening import open_store
from clwm_data.pages.numbers import plural
from clwm_data.yaml_values import printable

from .common import counting_bar, echo_json, echo_table, progress_bar
from .completion import names, runs
from .eval_behaviours import EACH, evaluate_behaviours
from .finding import find_run, is_own, store_of_run
from .options import TargetPath, UserPath, checkpoint_option, json_option, run_store_option, track_option
from .settings_options import evaluation_options, execution_options

if TYPE_CHECKING:
    from clwm_data.store import Store
    from clwm_train.evaluation import Episodes, Protocol, Results
    from clwm_train.evaluation.footage import Footage
    from clwm_train.evaluation.results import Evaluation
    from clwm_train.runs.run import Run
    from clwm_train.settings import EvaluationSettings, Execution


@click.command()
@click.argument("run", shell_complete=names(runs))
@evaluation_options
@click.option(
    "--context-sizes",
    metavar="K,K,...",
    help="Evaluate at each of these context sizes instead, and draw the curves.",
)
@click.option(
    "--references",
    type=UserPath(),
    help="Reference returns to normalise by: a CSV file with the columns task,random,expert, or a file of "
    "`clwm behaviour reference`.",
)
@click.option(
    "--video",
    type=TargetPath(),
    metavar="FOLDER",
    help="Also film the first episode of up to three tasks of each split: FOLDER/PROTOCOL.gif.",
)
@click.option(
    "--video-format",
    type=click.Choice(["gif", "mp4", "png"]),
    default="gif",
    show_default=True,
    help='Format of --video; png: the last moments; mp4 needs the extra "video".',
)
@checkpoint_option
@run_store_option
@track_option("Who else shows the results", "nobody")
@execution_options("cpu", "threads", threads="CPU threads, or processes, of the simulator.  [default: 1]")
@json_option
def eval(
    run: str,
    settings: EvaluationSettings,
    context_sizes: str | None,
    references: Path | None,
    video: Path | None,
    video_format: str,
    checkpoint: Path | None,
    store: str | None,
    track: tuple[str, ...] | None,
    execution: Execution,
    as_json: bool,
) -> None:
    """Evaluate how well the agent of RUN adapts to the tasks of its family.

    RUN is the folder of a run, the name of one under runs/, or an agent on the Hub (user/repo).

    Protocols differ in the source of the context that the task is inferred from:

    \b
    few-shot        from the task's own dataset
    online-context  gathered by the agent itself, acting on the prior
    non-prior       gathered by the agent itself: 100 random steps, then acting on all it has seen
    zero-shot       none: the task is inferred after every step from the episode so far

    A split that the family does not have is absent from the results. Normalised returns (0: random actions,
    1: the expert) are shown where reference returns are known. The results of a run on this
    machine are kept in its folder, for every checkpoint and all settings side by side. Every seed of a run is
    evaluated; if there are several, --json has their results under "seeds". --video films the first seed's
    agent, and changes no result.

    Where the family is not installed, --env names a function (package.module:function, or of a file in the
    current folder). It is called with a task's index and its parameters (a dict), and returns a
    gymnasium.Env.

    \b
    Examples:
      clwm eval runs/point-robot-spc-s0
      clwm eval runs/point-robot-spc-s0 --protocol few-shot --split id,ood --json
      clwm eval runs/point-robot-spc-s0 --protocol online-context,non-prior
      clwm eval runs/point-robot-spc-s0 --context-sizes 0,10,50,200,600
      clwm eval runs/cheetah-vel-spc-s0 --protocol few-shot --context-behaviour random
      clwm eval runs/cheetah-vel-spc-s0 --context-behaviour all
      clwm eval runs/point-robot-spc-s0 --planner mppi --planner-set samples=128
      clwm eval runs/point-robot-spc-s0 --protocol zero-shot --prior mean --inference model
      clwm eval runs/point-robot-spc-s0 --noise 0.3
      clwm eval runs/point-robot-spc-s0 --video films
      clwm eval runs/mw-reach-spc-s0 --episodes 10 --threads 2
      clwm eval user/point-robot-spc
      clwm eval runs/my-robot-spc-s0 --env my_robot:make --references returns.csv
    """
    require("torch", "train", "evaluation")
    from clwm_data.references.table import read_reference_file
    from clwm_train.evaluation.protocols import Callbacks
    from clwm_train.evaluation.run import evaluate_run
    from clwm_train.evaluation.tracked import track_evaluation
    from clwm_train.runs.checkpoint import choose_checkpoint
    from clwm_train.runs.run import open_run
    from clwm_train.settings import describe

    path = find_run(run)
    opened = open_run(path)
    data = open_store(store_of_run(opened, store))
    chosen = choose_checkpoint(opened.checkpoints, checkpoint)
    sizes = None if context_sizes is None else _sizes(context_sizes)
    if sizes is not None and settings.protocols == ("zero-shot",):
        raise click.UsageError("--context-sizes: zero-shot has no context: name another --protocol as well")
    table = None if references is None else read_reference_file(references)
    if sizes is not None and (video is not None or track):
        raise click.UsageError(f"--context-sizes excludes {'--track' if video is None else '--video'}")
    if track and not is_own(run):
        raise InvalidInputError(f"{run}: was downloaded, so nothing tracks it: drop --track")
    footage = None if video is None else _footage(opened, data, settings, video, video_format)
    warned: set[str] = set()

    def warn(message: str) -> None:
        if message not in warned:
            click.echo(f"clwm: {message}", err=True)
        warned.add(message)

    def evaluate_with(settings: EvaluationSettings) -> Evaluation:
        with counting_bar("evaluating", "step") as on_progress:
            return evaluate_run(
                opened,
                data,
                settings,
                references=table,
                checkpoint=chosen,
                execution=execution,
                callbacks=Callbacks(warn, on_progress, _nothing if footage is None else footage.keep),
            )

    own = is_own(run)
    if settings.context_behaviour == EACH:
        if sizes is not None:
            raise click.UsageError("--context-behaviour all: has one context size: drop --context-sizes")
        evaluate_behaviours(evaluate_with, settings, data, opened, keep if own else None, as_json)
        return
    if sizes is not None:
        _curves(evaluate_with, settings, sizes, opened, run, own, as_json)
        return
    evaluation = evaluate_with(settings)
    results = evaluation.plain_results()
    if as_json:
        echo_json(_by_seed(opened, results))
    else:
        click.echo(f"{run}: {opened.record.method} on {opened.record.store_name}, update {evaluation.step:,}")
        click.echo(describe(settings))
        for number, seed_results in zip(opened.record.seeds, results, strict=True):
            if len(results) > 1:
                click.echo(f"seed {number}:")
            echo_results(seed_results)
        if table is None and not opened.task_family.has_references:
            family = opened.record.family
            click.echo(f"no normalised returns: {family} has no reference returns (--references brings them)")
    if own:  # a downloaded run is not changed
        keep(opened, evaluation)
    if track:
        track_evaluation(opened, evaluation, track, warn)
    if footage is not None and video is not None:
        title = f"{opened.label} on {opened.record.store_name}, {plural(evaluation.step, 'update')}"
        _write_films(footage, video, video_format, title)


def _nothing(protocol: Protocol, episodes: Episodes) -> None:
    """Where nothing is filmed."""


def _footage(run: Run, store: Store, settings: EvaluationSettings, folder: Path, suffix: str) -> Footage:
    """What will be filmed; everything that would prevent it is found now."""
    from clwm_data.families.provided import ProvidedFamily
    from clwm_data.preview import check_format, typical_tasks
    from clwm_train.evaluation.footage import Footage

    for protocol in settings.protocols:
        check_format(folder / f"{protocol}.{suffix}")
    family = run.task_family
    if settings.env is not None:
        family = ProvidedFamily(family, settings.env)
    shown: list[int] = []
    for split in settings.splits:  # every protocol shows the same tasks: those with data, if there are any
        members = family.split(split)
        shown += typical_tasks(family, [task for task in members if task in store.tasks] or members)
    return Footage(family, shown)


def _write_films(footage: Footage, folder: Path, suffix: str, title: str) -> None:
    """Write a film for each protocol; messages go to stderr, since --json may own stdout."""
    from clwm_data.preview import write_preview

    for protocol in footage.protocols:
        target = folder / f"{protocol}.{suffix}"
        with progress_bar(None, "task", f"filming {protocol}") as bar:
            clips = footage.clips(protocol, still=suffix == "png", on_progress=bar.update)
        if clips:
            write_preview(clips, target, title=f"{title}, {protocol}")
            click.echo(f"{target}: {plural(len(clips), 'episode')}", err=True)


def keep(run: Run, evaluation: Evaluation) -> None:
    """Keep an evaluation with its run; a failure is reported, but does not hide the results."""
    from clwm_train.evaluation.results import save_evaluation

    try:
        save_evaluation(run, evaluation)
    except OSError as error:
        click.echo(f"clwm: {run.path}: the results are not kept: {error.strerror or error}", err=True)


def _curves(
    evaluate_with: Callable[[EvaluationSettings], Evaluation],
    settings: EvaluationSettings,
    sizes: Sequence[int],
    run: Run,
    text: str,
    own: bool,
    as_json: bool,
) -> None:
    """Evaluate over context sizes; keep, print and draw the curves of a run that the user named ``text``."""
    from clwm_data.store.atomic import write_json
    from clwm_train.evaluation.curve import METRICS, context_curves, curve_file
    from clwm_train.report.curve_figure import curve_figure

    done: list[Evaluation] = []

    def evaluate_at(protocols: Sequence[Protocol], size: int) -> list[Results]:
        changed = settings.model_copy(update={"protocols": tuple(protocols), "context_size": size})
        done.append(evaluate_with(changed))
        if own:
            keep(run, done[-1])
        return done[-1].plain_results()

    curves = context_curves(evaluate_at, settings.protocols, sizes)
    if as_json:
        echo_json(_by_seed(run, curves))
    else:
        for number, curve in zip(run.record.seeds, curves, strict=True):
            if len(curves) > 1:
                click.echo(f"seed {number}:")
            rows = [
                (name, split, *(f"{value:.2f}" for value in entry["return_mean"]))
                for name in settings.protocols
                if name != "zero-shot"
                for split, entry in curve[name].items()
            ]
            echo_table(("protocol", "split", *(f"K={size}" for size in sizes)), rows)
    name = "context-curve"
    if not own:  # the curves of a downloaded run lie in the current folder, beside those of others
        name = f"{re.sub(r'[^A-Za-z0-9._-]+', '-', text).strip('-.')}-{name}"
    made_with = {
        "checkpoint": done[0].checkpoint,
        "store_sha256": done[0].store_sha256,
        "context_sizes": list(sizes),
        **settings.model_dump(mode="json", exclude={"context_size"}),
    }
    document = curve_file(run.path if own else Path(), name, made_with)
    picture = document.with_suffix(".svg")
    try:
        write_json(document, {"seeds": list(run.record.seeds), "made_with": made_with, "curves": curves})
        curve_figure(curves, picture, title=f"{run.record.method} on {run.record.store_name}")
    except OSError as error:
        click.echo(f"clwm: {document}: the curves are not kept: {error.strerror or error}", err=True)
        return
    if not as_json:
        click.echo(f"{picture}, {document}: {', '.join(METRICS)} where known")


def _by_seed(run: Run, results: Sequence[Any]) -> Any:
    """The results of a run's only seed; for several seeds, a mapping under "seeds"."""
    if len(results) == 1:
        return results[0]
    return {
        "seeds": {
            str(number): seed_results for number, seed_results in zip(run.record.seeds, results, strict=True)
        }
    }


def _sizes(text: str) -> list[int]:
    if not re.fullmatch(r"\s*[0-9]{1,9}\s*(,\s*[0-9]{1,9}\s*)*", text):
        raise click.BadParameter(
            f"{printable(text)!r} is not a list of sizes such as 0,10,50,200,600",
            param_hint="--context-sizes",
        )
    return sorted({int(part) for part in text.split(",")})


def echo_results(results: Results) -> None:
    """Print the table of an evaluation."""
    from clwm_train.evaluation.table import results_lines

    click.echo("\n".join(results_lines(results)))
