"""The report of runs: a self-contained page, and in a folder beside it every figure as SVG and CSV."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from clwm_data.errors import InvalidInputError, NotFoundError, UnavailableError
from clwm_data.mistaken import has_lost_its_mark
from clwm_data.pages.html import document, header, section, table, warning
from clwm_data.paths import check_page_place
from clwm_data.references.table import References
from clwm_data.store.atomic import replacing
from clwm_data.suggestions import suggestion
from clwm_train.report.choosing import Chosen, choose_analyses, choose_evaluations
from clwm_train.report.context_shift import context_shift_figure
from clwm_train.report.datasets import datasets_figure
from clwm_train.report.figure import Figure
from clwm_train.report.groups import HEADER as GROUP_HEADER
from clwm_train.report.groups import group_methods, group_rows
from clwm_train.report.learned import (
    disentanglement_figure,
    group_runs,
    open_loop_figure,
    probe_figure,
    representation_figure,
)
from clwm_train.report.learning import learning_figures
from clwm_train.report.returns import returns_figures
from clwm_train.report.scores import (
    CSV_HEADER,
    HEADER,
    Score,
    gather_scores,
    results_csv,
    results_table,
)
from clwm_train.report.tables import write_csv
from clwm_train.runs.run import RECORD, Run, open_run
from clwm_train.settings import AnalysisSettings, describe

FILES = "_files"  # suffix of the folder of a page's figures and tables
SPLIT_NAMES = {
    "train": "train tasks",
    "id": "unseen tasks, held out in the published split (id)",
    "ood": "unseen tasks, out of distribution in the published split (ood)",
}


def find_runs(paths: Sequence[Path]) -> list[Run]:
    """The runs in these folders, or in their subfolders (as for a sweep), oldest run first.

    Raises:
        NotFoundError: a path is not a run and contains none, or one that has lost its record.
    """
    runs: dict[Path, Run] = {}
    for path in paths:
        below = [
            folder for folder in path.glob("*") if (folder / RECORD).is_file() or has_lost_its_mark(folder)
        ]
        inside = [path] if (path / RECORD).is_file() else below
        if not inside:
            names = {record.parent.name for record in path.parent.glob(f"*/{RECORD}")}
            hint = suggestion(path.name, sorted(names), "`clwm train` and `clwm sweep` make runs")
            raise NotFoundError(f"{path}: is not a run and holds none: {hint}")
        opened = [open_run(folder) for folder in inside]
        opened.sort(key=lambda run: (run.record.created, run.path.name))
        runs |= {run.path.resolve(): run for run in opened}
    return list(runs.values())


def write_run_report(
    runs: Sequence[Run], out: Path, chosen: Chosen | None = None, references: References | None = None
) -> list[Path]:
    """Write the page, and its tables and figures as ``<name>_files/<figure>.csv`` and ``.svg`` beside it.

    Figures for which the runs have no data are left out.

    Args:
        runs: at least one run.
        out: HTML file.
        chosen: the evaluations to show; by default those of
            :func:`~clwm_train.report.choosing.choose_evaluations`.
        references: as for :func:`~clwm_train.report.scores.gather_scores`.

    Returns:
        the files written, the page first.

    Raises:
        InvalidInputError: there are no runs, they are not comparable, or no page can be written at ``out``.
        UnavailableError: ``out`` cannot be written.
    """
    if not runs:
        raise InvalidInputError("there are no runs to report on: name at least one")
    check_page_place(out)
    methods = list(dict.fromkeys(run.label for run in runs))
    chosen = choose_evaluations(runs) if chosen is None else chosen
    analysed = choose_analyses(runs)
    scores = gather_scores(chosen.evaluations, references, analysed)
    groups = group_runs(runs)
    formulation = {
        run.label: f"{run.config.world_model.latent}, {run.config.world_model.consistency}"
        for run in runs
        if run.config.world_model is not None
    }
    candidates = [
        *returns_figures(scores, methods, formulation),
        datasets_figure(scores, methods),
        context_shift_figure(chosen.evaluations, chosen.settings, methods),
        *learning_figures(groups, methods),
        open_loop_figure(groups, methods, analysed),
        disentanglement_figure(groups, methods, analysed),
        probe_figure(groups, methods, analysed),
        representation_figure(groups, methods),
    ]
    figures = [figure for figure in candidates if figure is not None]
    folder = out.with_name(out.stem + FILES)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        if figures or scores:
            folder.mkdir(exist_ok=True)
        written = [out]
        for figure in figures:
            written += _write_figure(folder, figure)
        if scores:
            written.append(folder / "results.csv")
            write_csv(written[-1], CSV_HEADER, results_csv(scores))
        if rows := group_rows(scores):
            written.append(folder / "success-by-benchmark.csv")
            write_csv(written[-1], (*GROUP_HEADER, *group_methods(scores)), rows)
        page = _page(out.stem, runs, methods, (chosen, analysed, scores), figures)
        with replacing(out) as temporary:
            temporary.write_text(page, encoding="utf-8", newline="\n")
    except OSError as error:
        raise UnavailableError(f"{out}: cannot be written: {error.strerror or error}") from error
    return written


def _write_figure(folder: Path, figure: Figure) -> list[Path]:
    drawing, numbers = (folder / f"{figure.name}.{kind}" for kind in ("svg", "csv"))
    with replacing(drawing) as temporary:
        temporary.write_text(figure.chart.svg(figure.title), encoding="utf-8", newline="\n")
    write_csv(numbers, figure.header, figure.rows)
    return [drawing, numbers]


def _page(
    title: str,
    runs: Sequence[Run],
    methods: Sequence[str],
    results: tuple[Chosen, AnalysisSettings | None, Sequence[Score]],
    figures: Sequence[Figure],
) -> str:
    chosen, analysed, scores = results
    unseen, *rest = [*_results(scores), ""]
    sections = [_header(title, runs, methods), _evaluated(chosen, analysed), unseen, _by_benchmark(scores)]
    for figure in figures:
        sections.append(section(figure.title, figure.caption, figure.chart.html(figure.name)))
    if not scores:
        notes = ["None of these runs was evaluated yet: `clwm eval` does it."]
        notes += chosen.notes if chosen.settings is None else ()
        sections.insert(1, section("Results", "", "".join(map(warning, notes))))
    sections += [*rest, section("Runs", "", _runs_table(runs))]
    return document(title, sections, "Made by clwm")


def _header(title: str, runs: Sequence[Run], methods: Sequence[str]) -> str:
    counts = {
        "method": len(methods),
        "dataset": len({run.record.store_name for run in runs}),
        "run": len(runs),
        "seed": len({seed for run in runs for seed in run.record.seeds}),
    }
    tiles = {noun if count == 1 else f"{noun}s": f"{count:,}" for noun, count in counts.items()}
    return header(title, ", ".join(dict.fromkeys(run.record.family for run in runs)), tiles)


def _evaluated(chosen: Chosen, analysed: AnalysisSettings | None) -> str:
    """The settings of the results, and remarks on them."""
    if chosen.settings is None:
        return ""
    notes = "".join(map(warning, chosen.notes))
    text = f"Every result below: {describe(chosen.settings)}."
    if analysed is not None:
        text += f" Analyses: {describe(analysed)}."
    return section("Evaluation", text, notes)


def _results(scores: Sequence[Score]) -> list[str]:
    """A table per split, unseen tasks first."""
    sections = []
    for split in ("id", "ood", "train"):
        shown = sorted(
            (score for score in scores if score.split == split),
            key=lambda score: (score.dataset, score.protocol),
        )
        if not shown:
            continue
        kept = [column for column, name in enumerate(HEADER) if name != "split"]
        rows = [[escape(row[column]) for column in kept] for row in results_table(shown)]
        header = [HEADER[column] for column in kept]
        # A column of dashes says nothing.
        full = [c for c in range(len(header)) if any(row[c] != "-" for row in rows)]
        body = table(
            [header[c] for c in full],
            [[row[c] for c in full] for row in rows],
            numeric=[place for place, c in enumerate(full) if c >= 3],
        )
        sections.append(section(f"Results: {SPLIT_NAMES[split]}", RESULTS_NOTE, body))
    return sections


def _by_benchmark(scores: Sequence[Score]) -> str:
    """A table of success rates by benchmark; empty where no family joins several."""
    rows = group_rows(scores)
    if not rows:
        return ""
    methods = group_methods(scores)
    cells = [
        [
            escape(str(cell)) if isinstance(cell, str) else "-" if cell is None else f"{cell:.2f}"
            for cell in row
        ]
        for row in rows
    ]
    numeric = [len(GROUP_HEADER) + column for column in range(len(methods))]
    body = table([*GROUP_HEADER, *map(escape, methods)], cells, numeric=numeric)
    return section("Success by benchmark", "Share of solved episodes, mean over tasks and seeds.", body)


RESULTS_NOTE = (
    "Mean return in the environment's own scale; interquartile mean of the normalised return (0: random "
    "actions, 1: the expert) where references are known; share of solved episodes. In brackets 95 % "
    "stratified bootstrap intervals over seeds."
)


def _runs_table(runs: Sequence[Run]) -> str:
    header = ("run", "method", "preset", "dataset", "seeds", "updates", "tasks x windows x steps", "made")
    rows = []
    for run in runs:
        batch = run.config.batch
        rows.append(
            (
                escape(run.path.name),
                escape(run.label),
                escape(Path(run.record.preset).stem),
                f"{escape(run.record.store_name)} <code>{escape(run.record.store_sha256[:8])}</code>",
                escape(", ".join(map(str, run.record.seeds))),
                f"{run.config.steps:,}",
                f"{batch.tasks} x {batch.windows} x {batch.horizon}",
                escape(run.record.created[:10]),
            )
        )
    return table(header, rows, numeric=(5,))
