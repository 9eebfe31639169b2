"""``clwm sweep``: an experiment of many runs."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

import click
from tqdm import tqdm

from clwm_data.disk import describe
from clwm_data.errors import ClwmError, ConflictError, UnavailableError
from clwm_data.extras import require
from clwm_data.mistaken import MARKS
from clwm_data.opening import RUNS, open_store
from clwm_data.pages.numbers import plural
from clwm_data.paths import target_path

from .common import echo_table, progress_bar
from .finding import find_store
from .numbers import MOST_PROCESSES, Count, FiniteFloat
from .options import TargetPath, UserPath, track_option
from .settings_options import execution_options
from .signals import StopOnSignal

if TYPE_CHECKING:
    from clwm_train.settings import AnalysisSettings, Execution
    from clwm_train.sweep import Job
    from clwm_train.sweep.engine import Outcome

#: The table of results, beside the runs.
RESULTS = "results.csv"


@click.command()
@click.argument("experiment", type=UserPath())
@click.option("--out", type=TargetPath(), help="Folder of the runs.  [default: runs/NAME]")
@click.option(
    "--engine",
    default="local",
    show_default=True,
    type=click.Choice(["local", "ray"]),
    help="Where to train: on this machine, or on a Ray cluster.",
)
@click.option(
    "--jobs",
    type=Count(most=MOST_PROCESSES),
    default=1,
    show_default=True,
    help="Number of runs that are trained at once.",
)
@execution_options("auto", "threads", "compile")
@click.option(
    "--minutes",
    type=FiniteFloat(0, min_open=True),
    help="Stop after so many minutes; the same command continues.",
)
@click.option(
    "--store",
    "stores",
    multiple=True,
    metavar="NAME",
    help="Only the runs on this store, as the file names it; repeatable. Several commands on different "
    "stores or methods can share a folder.",
)
@click.option("--method", "methods", multiple=True, metavar="NAME", help="Only this method; repeatable.")
@track_option("Who shows the metrics", "as the file says, else tensorboard")
@click.option("--status", is_flag=True, help="Only show the state of every run.")
def sweep(
    experiment: Path,
    out: Path | None,
    engine: str,
    jobs: int,
    execution: Execution,
    minutes: float | None,
    stores: tuple[str, ...],
    methods: tuple[str, ...],
    track: tuple[str, ...] | None,
    status: bool,
) -> None:
    """Train, evaluate and analyse all runs of EXPERIMENT, a YAML file: methods x stores x seeds.

    The seeds of a method are trained together in one run unless the file says otherwise. The command can
    be killed at any moment: called again, it continues every run, and leaves finished ones alone. A run that
    fails does not stop the others. At the end the table of results is printed, and written to results.csv
    beside the runs; `clwm report` makes figures of them. docs/experiments.md describes the file.

    \b
    Examples:
      clwm sweep experiments/quick.yaml
      clwm sweep experiments/quick.yaml --status
      clwm sweep experiments/learns.yaml --minutes 30
      clwm sweep experiments/learns.yaml --jobs 4 --device cpu
      clwm sweep experiments/learns.yaml --store ant-dir-small --device cuda:1
      clwm sweep experiments/learns.yaml --engine ray --jobs 16
    """
    require("torch", "train", "training")
    from clwm_data.compiler import check_compiler
    from clwm_train.execution import pick_device
    from clwm_train.sweep import ENGINES, check_job, check_names, list_jobs, narrow, read_experiment
    from clwm_train.tracking import check_trackers

    whole = read_experiment(experiment)
    described = narrow(whole, stores, methods)
    paths = {text: find_store(text) for text in described.stores}
    if described.analysis is not None and any(map(_has_factors, paths.values())):
        require("sklearn", "metrics", "the analysis of the runs (`analysis: null` leaves it out)")
    folder = out or RUNS / described.name
    work = list_jobs(described, paths, folder, execution, track)
    check_trackers(work[0].track or ())
    if status:
        for number, job in enumerate(work, start=1):
            click.echo(f"[{number}/{len(work)}] {job.run.name}: {_status(job)}")
        return
    _check_place(folder)
    check_names(paths)
    for job in work:
        check_job(job, here=engine == "local")
    until = None if minutes is None else time.time() + 60.0 * minutes
    if execution.compile and engine == "local":
        check_compiler(pick_device(execution.device))
    in_turn = engine == "local" and jobs == 1
    outcomes = _one_by_one(work, until) if in_turn else ENGINES[engine](work, jobs, until)
    failed = 0
    try:
        for number, (job, error) in enumerate(outcomes, start=1):
            failed += error is not None
            click.echo(f"[{number}/{len(work)}] {job.run.name}: {_status(job) if error is None else error}")
    except KeyboardInterrupt:
        click.echo("clwm: interrupted", err=True)
    unfinished = sum(_status(job) != "done" for job in work)
    # Of all runs, since the folder has one table; stores that are not selected may not be here.
    every = {text: paths.get(text, Path(text)) for text in whole.stores}
    _show_results(folder, list_jobs(whole, every, folder, execution), whole.analysis)
    if failed:
        raise UnavailableError(
            f"{failed} of {plural(len(work), 'run')} failed; the same command tries them again"
        )
    if unfinished:
        left = f"{unfinished} of {plural(len(work), 'run')} {'is' if unfinished == 1 else 'are'} left"
        click.echo(f"clwm: {left}: the same command goes on", err=True)
        sys.exit(130)


def _check_place(folder: Path) -> None:
    """Refuse a folder that is something else, before hours of training."""
    target_path(folder)
    for kind, (mark, _) in MARKS.items():
        if (folder / mark).is_file():
            raise ConflictError(f"{folder}: is a {kind}: choose another folder for the runs with --out")
    if folder.exists() and not folder.is_dir():
        raise ConflictError(f"{folder}: is a file: choose another folder for the runs with --out")
    if (folder / RESULTS).is_dir():
        raise ConflictError(f"{folder / RESULTS}: is a folder, where the table of results goes: move it away")


def _one_by_one(work: Sequence[Job], until: float | None) -> Iterator[Outcome]:
    """Run jobs in this process, with a bar; a signal stops after the current update, with a checkpoint."""
    from clwm_train.sweep.engine import attempt

    with StopOnSignal() as stopped:
        for job in work:
            if stopped() or (until is not None and time.time() > until):
                return
            with progress_bar(_steps(job), "update", job.run.name) as bar:

                def on_progress(done: int, metrics: dict[str, float], bar: tqdm[Any] = bar) -> None:
                    bar.update(done - bar.n)

                error = attempt(job, until, stop=stopped, on_progress=on_progress)
            yield job, error


def _steps(job: Job) -> int | None:
    """Updates of a run in all; ``None`` if a timing decides them, or the run is faulty and will report it."""
    from clwm_train.sweep import job_state

    try:
        return job_state(job).steps or None
    except (ClwmError, OSError):
        return None


def _has_factors(store: Path) -> bool:
    """Whether disentanglement will be measured."""
    from clwm_train.analysis.codes import factors_of

    opened = open_store(store)
    return factors_of(opened.task_family, list(opened.tasks)) is not None


def _status(job: Job) -> str:
    """The state of a run, in a few words."""
    from clwm_train.sweep import job_state

    try:
        state = job_state(job)
    except ClwmError as error:
        return str(error)
    except OSError as error:
        return describe(error, job.run)
    match state.stage:
        case "waiting" | "done":
            return state.stage
        case "training":
            return f"trained {state.step:,} of {plural(state.steps, 'update')}"
        case "evaluating":
            return "trained, not evaluated yet"
        case "analysing":
            return "evaluated, not analysed yet"


def _show_results(folder: Path, work: Sequence[Job], analysis: AnalysisSettings | None) -> None:
    """Print the table of results on unseen tasks, and write that of all tasks."""
    from clwm_train.report.fairness import unequal
    from clwm_train.report.scores import CSV_HEADER, HEADER, gather_scores, results_csv, results_table
    from clwm_train.report.tables import write_csv
    from clwm_train.sweep.job import finished

    evaluations = finished(work, lambda note: click.echo(f"clwm: {note}", err=True))
    scores = gather_scores(evaluations, settings=analysis)
    names = {job.run.name for job in work}
    others = sorted({path.parent.name for path in folder.glob(f"*/{MARKS['run'][0]}")} - names)
    if not scores:
        return
    write_csv(folder / RESULTS, CSV_HEADER, results_csv(scores))
    rows = results_table(scores)
    click.echo()
    echo_table(HEADER, [row for row in rows if row[HEADER.index("split")] != "train"])
    for note in unequal(evaluations):
        click.echo(f"clwm: {note}", err=True)
    if others:
        more = f"{', '.join(others[:3])}{', ...' * (len(others) > 3)}"
        click.echo(f"clwm: not in the table: runs of {folder} that the file does not name ({more})", err=True)
    click.echo(
        f"\n{folder / RESULTS}; `clwm report {quote(str(folder))} --out {quote(f'{folder}.html')}` draws it"
    )
