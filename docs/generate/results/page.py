"""Pages that quote results/: what stands between their marks is made, the rest is written by hand."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from clwm_data.pages.numbers import plural
from clwm_train.sweep import read_experiment
from docs.generate.results import drawings, tables
from docs.generate.results.cells import Measured, borrow, measure
from docs.generate.results.claims import SPC, claims
from docs.generate.results.record import read_result

ROOT = Path(__file__).resolve().parents[3]
#: Pages with marks.
PAGES = (
    Path("results.md"),
    *(Path("results") / name for name in ("reference.md", "spc.md", "tdmpc2.md", "ant-dir.md")),
    Path("lab-notebook.md"),
    Path("training.md"),
)
FIGURES = Path("figures")
MARK = re.compile(r"(<!-- results: ([a-z0-9-]+) -->\n).*?(<!-- end -->)", re.DOTALL)
NOTHING = "*Not measured yet.*"


#: What a block of the reference is, said only where there is something to show.
LEADS = {
    "claims": "**What the paper's figures claim, and what is seen here.** One rule: *confirmed* if the 95 % "
    "interval of the probability that\nSPC is better lies above one half for each of the others, "
    "*contradicted* if it lies below for one, else *undecided*.",
    "protocols": "**Over the datasets that every method was measured on**, IQM:",
    "few-shot": "**Few-shot on id tasks** (the paper's Figure 5), IQM:",
    "reference-learning": "**While training**: mean few-shot return on id tasks, one episode a task, against "
    "updates.",
    "each-dataset": "**All returns**, IQM:",
    "improvement": "**How probably SPC is better**, few-shot on id tasks:",
    "by-model": "**Zero-shot, with the world model's inference**, IQM:",
    "formulations": "**Formulations of the world model** (Figure 4), few-shot on id tasks, over all "
    "datasets:",
    "formulations-few-shot": "**Formulations, few-shot on id tasks of each dataset**, IQM:",
    "representation": "**Representations** (Figure 2): last update, mean and range over datasets and seeds.",
    "disentanglement": "**Disentanglement** (Figure 3) on the families of length and speed, mean and range "
    "over seeds:",
    "probe": "**Linear probe** from z to the task parameters, R² on id / ood tasks, mean over seeds:",
    "budgets": "**Budgets**:",
}

#: Experiments beside the reference, each with one table of its own.
SINGLE: Mapping[str, tuple[Callable[[Measured], tables.Table], int]] = {
    "policies": (tables.each_method, 1),
    "spc": (tables.each_method, 1),
    "tiny": (tables.each_method, 1),
    "ml10": (tables.each_dataset, 2),
    "observations": (tables.each_dataset, 2),
    "ant-dir-data": (tables.each_dataset, 2),
    "learns": (tables.by_inference, 3),
    "tdmpc2": (tables.by_planner, 3),
    "contexts": (tables.each_dataset, 2),
    "windows": (tables.each_dataset, 2),
    "levels": (tables.each_dataset, 2),
    "ceilings": (tables.each_dataset, 2),
}

#: Methods that are the benchmark's: they stand beside what these measured.
BORROWED = {"tdmpc2": SPC, "levels": SPC, "ceilings": "oracle"}


def read_all(root: Path = ROOT) -> tuple[Measured, Measured, Mapping[str, Measured]]:
    """Results of the benchmark, the formulations (SPC's from the benchmark if need be) and the others."""

    def read(name: str) -> Measured:
        return measure(read_experiment(root / f"experiments/{name}.yaml"), root / "results" / name)

    benchmark = read("benchmark")
    formulations = borrow(read("formulations"), SPC, benchmark)
    others = {name: read(name) for name in SINGLE}
    for name, method in BORROWED.items():
        others[name] = borrow(others[name], method, benchmark, {dataset for dataset, _ in others[name].runs})
    return benchmark, formulations, others


def blocks(
    benchmark: Measured,
    formulations: Measured,
    others: Mapping[str, Measured],
    figures: Collection[str] = (),
    page: Path = PAGES[0],
) -> dict[str, Callable[[], str]]:
    """Name of a mark on a page -> what stands there; a figure if it is among those that are made."""
    pictures = Path(*[".."] * (len(page.parts) - 1)) / FIGURES
    any_measured = bool(benchmark.runs or formulations.runs)
    several = len({method for _, method in formulations.runs}) > 1  # not SPC's of the benchmark alone
    counts = Counter(dataset for dataset, _ in formulations.runs)
    compared = replace(formulations, datasets=tuple(d for d in formulations.datasets if counts[d] > 1))

    def table(make: Callable[[Measured], tables.Table], measured: Measured, names: int = 1) -> str:
        return (make(measured).markdown(names) if measured.runs else "") or NOTHING

    return {
        "coverage": lambda: f"{coverage(benchmark)}\n{coverage(formulations)}",
        "claims": lambda: claims(benchmark, formulations).markdown(4) if any_measured else NOTHING,
        "few-shot": lambda: table(tables.few_shot, benchmark),
        "each-dataset": lambda: table(tables.each_dataset, benchmark, 2),
        "protocols": lambda: table(tables.protocols, benchmark),
        "by-model": lambda: table(tables.by_inference, benchmark, 3),
        "improvement": lambda: table(tables.improvement, benchmark),
        "formulations": lambda: table(tables.formulations, formulations, 3) if several else NOTHING,
        "formulations-few-shot": lambda: table(tables.few_shot, compared) if several else NOTHING,
        "representation": lambda: table(tables.representation, benchmark),
        "disentanglement": lambda: table(tables.disentangled, benchmark, 2),
        "probe": lambda: table(tables.probes, benchmark),
        "budgets": lambda: table(tables.budgets, benchmark),
        "spc-zero-shot": lambda: table(partial(tables.each_method, protocol="zero-shot"), others["spc"]),
        **{
            name: lambda name=name, make=make, names=names: (  # type: ignore[misc]
                f"{table(make, others[name], names)}\n\n{source(others[name])}"
            )
            for name, (make, names) in SINGLE.items()
        },
        **{
            name: lambda name=name, title=title: (  # type: ignore[misc]
                f"![{title}]({(pictures / name).as_posix()}.svg)" if name in figures else NOTHING
            )
            for name, title in FIGURE_TITLES.items()
        },
    }


FIGURE_TITLES = {
    "reference-few-shot": "Few-shot returns on id tasks of each dataset",
    "reference-aggregates": "Returns over all datasets",
    "reference-learning": "Few-shot returns on id tasks while training",
    "reference-formulations": "Formulations of the world model",
    "reference-representation": "Ranks and dormant neurons of the context encoder",
    "reference-disentanglement": "DCI and InfoMEC",
}


def coverage(measured: Measured) -> str:
    """What was measured, with which revision; what is missing or outdated."""
    name = measured.experiment.name
    total = len(measured.datasets) * len(measured.methods)
    lines = [f"- `{name}`: {len(measured.runs)} of {total} cells (a method on a dataset) were measured"]
    if measured.runs:
        lines[0] += f", at {_revisions(measured)}"
    lines[0] += "."
    absent: dict[str, list[str]] = {}
    fewer: dict[str, list[str]] = {}
    for (dataset, method), seeds in measured.missing.items():
        if (dataset, method) in measured.runs:
            fewer.setdefault(f"{dataset}, seeds {', '.join(map(str, seeds))}", []).append(method)
        else:
            absent.setdefault(dataset, []).append(method)
    together: dict[str, list[str]] = {}
    for dataset, methods in absent.items():
        all_absent = len(methods) == len(measured.methods)
        together.setdefault("every method" if all_absent else ", ".join(methods), []).append(dataset)
    lines += [f"    - missing on {', '.join(datasets)}: {methods}." for methods, datasets in together.items()]
    lines += [f"    - missing on {where}: {', '.join(methods)}." for where, methods in fewer.items()]
    lines += [f"    - {note}" for note in _outdated(measured)]
    return "\n".join(lines)


def source(measured: Measured) -> str:
    """How a table was made: the command, the revisions; what is missing altogether, or outdated."""
    command = f"`clwm sweep experiments/{measured.experiment.name}.yaml`"
    if not measured.runs:
        return f"{command}."
    parts = [f"{command}, {_revisions(measured)}."]
    absent = [
        name
        for place, names in enumerate((measured.datasets, measured.methods))
        for name in names
        if all(key[place] != name for key in measured.runs)
    ]
    if absent:
        parts.append(f"Not measured: {', '.join(absent)}.")
    return " ".join([*parts, *_outdated(measured)])


def _revisions(measured: Measured) -> str:
    revisions = sorted({read_result(run).revision for runs in measured.runs.values() for run in runs})
    return f"{'revision' if len(revisions) == 1 else 'revisions'} {', '.join(revisions)}"


def _outdated(measured: Measured) -> list[str]:
    reasons: dict[str, list[str]] = {}
    for (dataset, method), reason in measured.outdated.items():
        reasons.setdefault(reason, []).append(f"{method} on {dataset}")
    return [
        f"**outdated {tables.OUTDATED}** ({reason}), {plural(len(cells), 'cell')}: {', '.join(cells)}."
        for reason, cells in reasons.items()
    ]


def fill(page: str, made: dict[str, Callable[[], str]]) -> str:
    """The page with what stands between its marks.

    Raises:
        ValueError: a mark that nothing is made for.
    """

    def between(match: re.Match[str]) -> str:
        if match[2] not in made:
            raise ValueError(f"nothing is called {match[2]}: there are {', '.join(made)}")
        name = match[2]
        text = made[name]()
        if name in LEADS or name in FIGURE_TITLES:
            text = "" if text == NOTHING else "\n\n".join(filter(None, (LEADS.get(name), text)))
        return f"{match[1]}\n{text}\n\n{match[3]}" if text else f"{match[1]}{match[3]}"

    return MARK.sub(between, page)


def make(
    docs: Path, benchmark: Measured, formulations: Measured, others: Mapping[str, Measured]
) -> dict[Path, str]:
    """Path below docs/ -> content of the pages and their figures."""
    charts = dict(drawings.drawings(benchmark, formulations))
    made = {
        page: fill(
            (docs / page).read_text(encoding="utf-8"),
            blocks(benchmark, formulations, others, charts, page),
        )
        for page in PAGES
    }
    return made | {FIGURES / f"{name}.svg": chart.svg() for name, chart in charts.items()}


def write(docs: Path, root: Path = ROOT) -> None:
    """Write the pages and their figures; figures that nothing is there for any more are removed."""
    made = make(docs, *read_all(root))
    for name in FIGURE_TITLES:
        if FIGURES / f"{name}.svg" not in made:
            (docs / FIGURES / f"{name}.svg").unlink(missing_ok=True)
    for path, text in made.items():
        (docs / path).write_text(text, encoding="utf-8")
