"""The tables of the pages of results, as Markdown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from clwm_data.pages.numbers import number
from clwm_train.metrics.aggregate import (
    Interval,
    Scores,
    aggregate,
    iqm,
    optimality_gap,
    probability_of_improvement,
)
from clwm_train.report.figure import spread
from clwm_train.report.learned import DISENTANGLEMENT, REPRESENTATION
from clwm_train.report.scores import Pooled, Score, compare, same_agents, shown
from clwm_train.runs.run import Run
from docs.generate.results.cells import Cell, Key, Measured
from docs.generate.results.learned import disentanglement, final_representation, probe

#: Bootstrap replicates; enough for two decimals.
REPLICATES = 2_000
ABSENT = "–"
OUTDATED = "†"
#: Titles of protocol and split, in the order of columns.
PARTS = {
    ("few-shot", "id"): "few-shot id",
    ("zero-shot", "id"): "zero-shot id",
    ("few-shot", "ood"): "few-shot ood",
    ("zero-shot", "ood"): "zero-shot ood",
}


@dataclass(frozen=True)
class Table:
    """A table: columns, and rows of text."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]

    def markdown(self, names: int = 1) -> str:
        """The table, with ``names`` columns on the left and numbers on the right, without the rows and
        columns in which there is no number; empty without any row.
        """
        numbers = range(names, len(self.header))
        rows = [row for row in self.rows if not numbers or any(row[column] != ABSENT for column in numbers)]
        if not rows:
            return ""
        kept = [
            column
            for column in range(len(self.header))
            if column < names or any(row[column] != ABSENT for row in rows)
        ]
        rule = ["---" if column < names else "---:" for column in range(len(self.header))]
        lines = ([row[column] for column in kept] for row in (self.header, rule, *rows))
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def few_shot(measured: Measured) -> Table:
    """IQM of the few-shot returns on id tasks: a row for each dataset, and one over those that all have."""
    rows = [
        [
            dataset,
            *(
                _marked(measured, (dataset, method), _iqm(measured.scores.get(Cell(dataset, method, *part))))
                for method in measured.methods
            ),
        ]
        for part in [("few-shot", "id")]
        for dataset in measured.datasets
    ]
    pooled, datasets = over_datasets(measured, ("few-shot", "id"))
    total = [
        mark(measured, keys_of(datasets, method), _estimate(pooled.get(method)))
        for method in measured.methods
    ]
    return Table(["dataset", *measured.methods], [*rows, [f"**{_all(datasets)}**", *total]])


def each_dataset(measured: Measured) -> Table:
    """A row for each dataset and method: IQM of every protocol and split, success where there is one."""
    solved = any(score.success is not None for score in measured.scores.values())
    successes = [part for part in PARTS if solved]
    rows = []
    for key in ((dataset, method) for dataset in measured.datasets for method in measured.methods):
        scores = {part: measured.scores.get(Cell(*key, *part)) for part in PARTS}
        if not any(scores.values()):
            continue
        returns = [_iqm(score) for score in scores.values()]
        rows.append(
            [
                key[0],
                _marked(measured, key, key[1]),
                *returns,
                *(_success(scores[part]) for part in successes),
            ]
        )
    header = [
        "dataset",
        "method",
        *PARTS.values(),
        *(f"{PARTS[part]}: success" for part in successes),
    ]
    return Table(header, rows)


def each_method(measured: Measured, protocol: str = "few-shot") -> Table:
    """IQM of a protocol's returns: a row for each method, a column for each dataset and split."""
    columns = [(dataset, split) for dataset in measured.datasets for split in ("id", "ood")]
    rows = []
    for method in measured.methods:
        scores = {
            (dataset, split): measured.scores.get(Cell(dataset, method, protocol, split))
            for dataset, split in columns
        }
        if any(scores.values()):
            cells = (_marked(measured, (column[0], method), _iqm(score)) for column, score in scores.items())
            rows.append([method, *cells])
    return Table(["method", *(f"{dataset} {split}" for dataset, split in columns)], rows)


def protocols(measured: Measured) -> Table:
    """IQM over the common datasets: a row for each method, a column for each protocol and split."""
    columns = {part: over_datasets(measured, part) for part in PARTS}
    rows = [
        [
            method,
            *(
                mark(measured, keys_of(datasets, method), _estimate(pooled.get(method)))
                for pooled, datasets in columns.values()
            ),
        ]
        for method in measured.methods
    ]
    return Table(["method", *PARTS.values()], rows)


def by_inference(measured: Measured) -> Table:
    """Zero-shot returns as published and with ``--inference model`` and the like, beside few-shot ones."""
    cells = dict.fromkeys(cell for scores in measured.inferred.values() for cell in scores)
    rows = []
    for cell in cells:
        if cell.protocol != "zero-shot" or cell.split not in ("id", "ood"):
            continue
        scores = [
            *(measured.scores.get(cell._replace(protocol=name)) for name in ("few-shot", "zero-shot")),
            *(scores.get(cell) for scores in measured.inferred.values()),
        ]
        name = _marked(measured, (cell.dataset, cell.method), cell.method)
        rows.append([cell.dataset, name, cell.split, *map(_iqm, scores)])
    inferences = (f"zero-shot, `--inference {name}`" for name in measured.inferred)
    return Table(
        ["dataset", "method", "split", "few-shot", "zero-shot, as published", *inferences],
        rows,
    )


def by_planner(measured: Measured) -> Table:
    """Few-shot returns of the policy and of the planner, and zero-shot ones of the policy."""
    known = {(cell.dataset, cell.method) for cell in measured.scores}
    rows = []
    for dataset, method in (key for key in product(measured.datasets, measured.methods) if key in known):
        for split in ("id", "ood"):
            few_shot, zero_shot = (Cell(dataset, method, name, split) for name in ("few-shot", "zero-shot"))
            scores = (
                measured.scores.get(few_shot),
                measured.planned.get(few_shot),
                measured.scores.get(zero_shot),
            )
            rows.append([dataset, _marked(measured, (dataset, method), method), split, *map(_iqm, scores)])
    columns = ("few-shot", "few-shot, `--planner mppi`", "zero-shot")
    return Table(["dataset", "method", "split", *columns], rows)


def improvement(measured: Measured) -> Table:
    """Probability that the first method is better than each other one, few-shot on id and ood tasks."""
    first, *others = measured.methods
    columns = {part: over_datasets(measured, part) for part in (("few-shot", "id"), ("few-shot", "ood"))}
    rows = [
        [
            f"over {other}",
            *(
                mark(
                    measured,
                    keys_of(datasets, first, other),
                    shown(improves(pooled.get(first), pooled.get(other)), 2).replace("-", ABSENT),
                )
                for pooled, datasets in columns.values()
            ),
        ]
        for other in others
    ]
    return Table([f"P({first} better)", *(PARTS[part] for part in columns)], rows)


def formulations(measured: Measured) -> Table:
    """Figure 4: IQM and optimality gap of the formulations of the world model, few-shot on id tasks."""
    pooled, datasets = over_datasets(measured, ("few-shot", "id"))
    rows = []
    for method in measured.methods:
        model = next(
            (
                run.config.world_model
                for key, runs in measured.runs.items()
                for run in runs
                if key[1] == method and run.config.world_model is not None
            ),
            None,
        )
        named = (ABSENT, ABSENT) if model is None else (model.latent, model.consistency)
        gap = _estimate(pooled.get(method), optimality_gap)
        name = mark(measured, keys_of(datasets, method), method)
        rows.append([name, *named, _estimate(pooled.get(method)), gap])
    return Table(["method", "latent space", "consistency loss", "IQM", "optimality gap"], rows)


def representation(measured: Measured) -> Table:
    """Figure 2: metrics of the context encoder at the end, over datasets and seeds."""
    rows = []
    for method in measured.methods:
        values = {
            name: [
                value
                for dataset in measured.datasets
                for value in final_representation(measured.runs.get((dataset, method), ()), name)
            ]
            for name in REPRESENTATION
        }
        if any(values.values()):
            name = mark(measured, keys_of(measured.datasets, method), method)
            rows.append([name, *(_spread(every, 2) for every in values.values())])
    return Table(["method", *REPRESENTATION.values()], rows)


def disentangled(measured: Measured) -> Table:
    """Figure 3: DCI and InfoMEC on the families of length and speed."""
    rows = []
    for dataset in measured.datasets:
        for method in measured.methods:
            scores = disentanglement(measured.runs.get((dataset, method), ()))
            if scores:
                name = _marked(measured, (dataset, method), method)
                rows.append([dataset, name, *(_spread(scores.get(key, []), 2) for key in DISENTANGLEMENT)])
    return Table(["dataset", "method", *DISENTANGLEMENT.values()], rows)


def probes(measured: Measured) -> Table:
    """R² of the linear probe, mean over seeds: id and ood tasks."""

    def cell(key: Key) -> str:
        values = [probe(measured.runs.get(key, ()), split) for split in ("id", "ood")]
        texts = [number(float(np.mean(each)), 2) if each else ABSENT for each in values]
        return _marked(measured, key, " / ".join(texts)) if any(values) else ABSENT

    methods = [
        method
        for method in measured.methods
        if any(probe(measured.runs.get((dataset, method), ()), "id") for dataset in measured.datasets)
    ]
    rows = [[dataset, *(cell((dataset, method)) for method in methods)] for dataset in measured.datasets]
    return Table(["dataset", *methods], rows)


def budgets(measured: Measured) -> Table:
    """What each method was given: over datasets and seeds.

    The processor time is that of trainings on a CPU, and in brackets on how many datasets: of one on a GPU it
    is the time of the host alone, which says nothing about the other and would only dilute the mean.
    """
    rows = []
    for method in measured.methods:
        scores = [
            score
            for cell, score in measured.scores.items()
            if (cell.method, cell.protocol, cell.split) == (method, "few-shot", "id")
        ]
        if not scores:
            continue
        seconds = [
            score.processor_seconds
            for score in scores
            if score.processor_seconds is not None
            and all(map(_on_cpu, measured.runs[score.dataset, score.method]))
        ]
        rows.append(
            [
                mark(measured, keys_of(measured.datasets, method), method),
                _range([score.update for score in scores]),
                _range([score.transitions for score in scores]),
                f"{number(float(np.mean(seconds)) / 60.0, 1)} ({len(seconds)})" if seconds else ABSENT,
                str(len(scores)),
                _range([len(score.seeds) for score in scores]),
            ]
        )
    header = [
        "method",
        "updates",
        "transitions per update",
        "processor time per seed on a CPU, min (datasets)",
        "datasets",
        "seeds",
    ]
    return Table(header, rows)


def _on_cpu(run: Run) -> bool:
    """Whether a run was certainly trained on a CPU: its torch was built for nothing else."""
    return run.record.packages.get("torch", "").endswith("+cpu")


def over_datasets(measured: Measured, part: tuple[str, str]) -> tuple[Pooled, tuple[str, ...]]:
    """Normalised scores [seeds, tasks] of each method on the datasets that all methods were measured on.

    Methods without any result are left out; so is a dataset on which another one is missing.
    """
    scores = list(measured.scores.values())
    compared = compare(scores, measured.methods, [part])
    return compared.parts.get(part, {}), compared.datasets


def improves(first: Scores | None, other: Scores | None) -> Interval | None:
    """Probability of improvement; ``None`` if one of both is missing."""
    if first is None or other is None:
        return None
    return probability_of_improvement(first, other, replicates=REPLICATES)


def _all(datasets: Iterable[str]) -> str:
    count = len(list(datasets))
    return f"all {count}" if count else "all"


def _iqm(score: Score | None) -> str:
    return _estimate(None if score is None or score.normalised is None else same_agents(score.normalised))


def _success(score: Score | None) -> str:
    """Mean share of solved episodes over tasks and seeds."""
    return ABSENT if score is None or score.success is None else number(float(score.success.mean()), 2)


def _estimate(scores: Scores | None, statistic: Callable[[np.ndarray], np.ndarray] = iqm) -> str:
    if scores is None:
        return ABSENT
    return shown(aggregate(scores, statistic, replicates=REPLICATES), 2)


def _spread(values: Sequence[float], places: int) -> str:
    return shown(spread(values), places) if values else ABSENT


def _range(values: Sequence[int]) -> str:
    if not values:
        return ABSENT
    ends = dict.fromkeys((min(values), max(values)))
    return " to ".join(f"{value:,}" for value in ends)


def keys_of(datasets: Iterable[str], *methods: str) -> list[Key]:
    """The methods on each of the datasets."""
    return [(dataset, method) for dataset in datasets for method in methods]


def mark(measured: Measured, keys: Iterable[Key], text: str) -> str:
    """A text with the mark of what is outdated, if any of the runs that it is made of is."""
    return f"{text} {OUTDATED}" if text != ABSENT and any(key in measured.outdated for key in keys) else text


def _marked(measured: Measured, key: Key, text: str) -> str:
    return mark(measured, [key], text)
