"""``clwm report``: a store, or runs beside each other, on one page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from clwm_data.errors import InvalidInputError, NotFoundError
from clwm_data.extras import require
from clwm_data.opening import RUNS, open_store
from clwm_data.report import write_report
from clwm_data.suggestions import suggestion

from .common import progress_bar
from .completion import names, runs, stores
from .finding import default_store, find_store
from .options import TargetPath, UserPath


@click.command()
@click.argument("what", metavar="STORE | RUN...", nargs=-1, required=True, shell_complete=names(stores, runs))
@click.option("--out", type=TargetPath(), help="HTML file.  [default: NAME.html]")
@click.option(
    "--evaluation",
    "asked",
    multiple=True,
    metavar="KEY=VALUE",
    help="Show the evaluations of runs with this setting, e.g. noise=0.3; repeatable.  [default: the "
    "published ones]",
)
@click.option(
    "--references",
    type=UserPath(),
    help="Reference returns of the runs' family, as for `clwm eval`.",
)
@click.option("--pictures/--no-pictures", default=True, help="Film some episodes of a store.  [default: yes]")
def report(
    what: tuple[str, ...], out: Path | None, asked: tuple[str, ...], references: Path | None, pictures: bool
) -> None:
    """Show a store, or runs beside each other, on one self-contained page.

    For a STORE (a path, or the name of one under data/): provenance, tasks, returns, coverage, rewards,
    episodes. For RUNs (folders of runs or of a whole sweep, or names of such under runs/): tables of results
    with intervals, aggregate returns and those on each dataset, performance profiles, formulations of the
    world model, open-loop errors, disentanglement, representations over training; every figure also as SVG
    and CSV in a folder beside the page. Runs are compared by the results that `clwm eval` and `clwm analyse`
    have kept.

    \b
    Examples:
      clwm report point-robot
      clwm report data/cheetah-vel.zarr --out cheetah.html --no-pictures
      clwm report point-robot-spc-s0 point-robot-focal-s0 --out compared.html
      clwm report runs/learns --out learns.html
      clwm report runs/learns --evaluation noise=0.3
    """
    folders = [_folder_of_runs(text) for text in what]
    if any(folders):
        paths = [folder or _meant(text) for folder, text in zip(folders, what, strict=True)]
        _report_runs(paths, out, asked, references)
        return
    if len(what) > 1:
        raise InvalidInputError(
            f"{what[0]}: several names must be runs, and this is not one: name one store at a time"
        )
    if references is not None:
        raise click.UsageError("--references is for runs")
    path = _find(what[0])
    opened = open_store(path)
    target = out or Path(f"{opened.name}.html")
    with progress_bar(len(opened.tasks), "task", "reading") as bar:
        write_report(path, target, pictures=pictures, on_progress=lambda _: bar.update())
    click.echo(target)


def _folder_of_runs(text: str) -> Path | None:
    """The folder of a run or of a whole sweep that a text names: a path, or a name under ``runs/`` that is
    not the name of a store as well."""
    if _holds_runs(Path(text)):
        return Path(text)
    path = _meant(text)
    return path if _holds_runs(path) and not default_store(text).exists() else None


def _meant(text: str) -> Path:
    """The path that a text names, or would name under ``runs/``."""
    return RUNS / text if Path(text).name == text and not Path(text).exists() else Path(text)


def _find(text: str) -> Path:
    try:
        return find_store(text)
    except NotFoundError as error:
        names = [folder.name for folder in RUNS.glob("*") if _holds_runs(folder)]
        if hint := suggestion(Path(text).name, names):
            raise NotFoundError(f"neither a store nor a run is called {text!r}: {hint}") from error
        raise NotFoundError(f"{error}; nor is there a run of that name under {RUNS}/") from error


def _holds_runs(path: Path) -> bool:
    return (path / "run.yaml").is_file() or any(path.glob("*/run.yaml"))


def _report_runs(
    paths: list[Path], out: Path | None, asked: tuple[str, ...], references: Path | None
) -> None:
    require("torch", "train", "a report of runs")
    from clwm_data.references.table import read_reference_file
    from clwm_train.report.choosing import choose_evaluations
    from clwm_train.report.page import find_runs, write_run_report

    table = None if references is None else read_reference_file(references)
    runs = find_runs(paths)
    target = out or Path(f"{paths[0].resolve().name if len(paths) == 1 else 'runs'}.html")
    chosen = choose_evaluations(runs, _settings(asked))
    for note in chosen.notes:
        click.echo(f"clwm: {note}", err=True)
    for file in write_run_report(runs, target, chosen, table):
        click.echo(file)


def _settings(asked: tuple[str, ...]) -> dict[str, Any]:
    """The settings to choose evaluations by, as fields of :class:`EvaluationSettings`."""
    from clwm_data.strict import YamlDocument, build_model
    from clwm_train.methods.method_file import merge
    from clwm_train.methods.resolve import parse_override
    from clwm_train.settings import EvaluationSettings

    data: dict[str, Any] = {}
    for override in asked:
        data = merge(data, parse_override(override, "--evaluation", "noise=0.3"))
    settings = build_model(EvaluationSettings, YamlDocument("--evaluation", data, {}))
    return {name: getattr(settings, name) for name in data}
