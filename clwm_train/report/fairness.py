"""What a table of methods lacks: equal data, networks, batches and budgets; a floor and a ceiling."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from clwm_data.pages.numbers import number
from clwm_train.evaluation.results import Evaluation
from clwm_train.report.scores import processor_seconds
from clwm_train.runs.run import Run
from clwm_train.settings import shown

#: Budgets that differ by a larger share than this are not equal.
TOLERANCE = 0.1

Evaluated = tuple[Run, Evaluation]

#: What should be the same for all methods, and is not what makes them methods. ``None``: has none.
SAME: dict[str, Callable[[Run], Any]] = {
    "tasks of a meta-batch": lambda run: run.config.batch.tasks,
    "windows": lambda run: run.config.batch.windows,
    "context transitions": lambda run: run.config.batch.context,
    "networks": lambda run: f"{run.config.network.style} {run.config.network.init}",
    "hidden layers of the context encoder": lambda run: (
        _layers(run.config.context.hidden) if run.config.context.source == "encoder" else None
    ),
    "hidden layers of policy and critics": lambda run: _layers(run.config.learning.hidden),
    "policy": lambda run: run.config.policy_head,
    "contexts with the next observation": lambda run: (
        ("yes" if run.config.context.next_observation else "no")
        if run.config.context.source == "encoder"
        else None
    ),
    "scaling of the data": lambda run: shown(run.config.data),
    "decay of the learning rates": lambda run: run.config.learning_rate_decay,
    "precision": lambda run: run.config.precision,
}
#: What should differ by no more than ``TOLERANCE``.
BUDGETS: dict[str, tuple[Callable[[Run, int], float | None], Callable[[float], str]]] = {
    "updates": (lambda run, step: step, lambda value: f"{value:,.0f}"),
    "transitions per update": (
        lambda run, step: run.config.transitions_per_update,
        lambda value: f"{value:,.0f}",
    ),
    "minutes of the processor per seed": (
        processor_seconds,
        lambda value: number(value / 60.0, 1 if value >= 60.0 else 3),
    ),
}


def unequal(evaluations: Iterable[Evaluated]) -> list[str]:
    """Notes on what the methods do not share on each dataset; none if they share everything.

    Methods of which something is unknown are left out of that comparison.
    """
    by_dataset: dict[str, list[Evaluated]] = {}
    for run, evaluation in evaluations:
        by_dataset.setdefault(run.record.store_name, []).append((run, evaluation))
    notes: dict[str, list[str]] = {}
    for dataset, group in by_dataset.items():
        for note in (*_differences(group), *_budgets(group)):
            notes.setdefault(note, []).append(dataset)
    return [f"{note}, on {', '.join(datasets)}" for note, datasets in notes.items()]


def missing_bounds(evaluations: Iterable[Evaluated]) -> list[str]:
    """Notes on datasets where methods are compared without a floor or without a ceiling of the returns."""
    datasets: dict[str, list[Run]] = {}
    for run, _ in evaluations:
        datasets.setdefault(run.record.store_name, []).append(run)
    notes: dict[str, list[str]] = {}
    for dataset, runs in datasets.items():
        if len({run.label for run in runs}) < 2:
            continue
        sources = {run.config.context.source for run in runs}
        lacking = [
            bound
            for bound, source in (("no floor (no-context)", "none"), ("no ceiling (oracle)", "parameters"))
            if source not in sources
        ]
        if lacking:
            notes.setdefault(" and ".join(lacking), []).append(dataset)
    return [
        f"{note} to compare with on {', '.join(names)}: what inferring the task brings at all is not seen"
        for note, names in notes.items()
    ]


def _differences(group: Sequence[Evaluated]) -> list[str]:
    notes = []
    for what, value_of in SAME.items():
        methods: dict[str, dict[str, None]] = {}
        for run, _ in group:
            value = value_of(run)
            if value is not None:
                methods.setdefault(str(value), {})[run.label] = None
        if len(methods) > 1:
            parts = (f"{value} ({', '.join(labels)})" for value, labels in methods.items())
            notes.append(f"methods differ in {what}: {'; '.join(parts)}")
    tasks: dict[tuple[Any, ...], dict[str, None]] = {}
    for run, evaluation in group:
        evaluated = (
            (protocol, split, entry.episodes, *entry.tasks)
            for results in evaluation.results[:1]
            for protocol, splits in results.items()
            for split, entry in splits.items()
        )
        tasks.setdefault(tuple(evaluated), {})[run.label] = None
    if len(tasks) > 1:
        parts = (", ".join(labels) for labels in tasks.values())
        notes.append(f"methods were evaluated on different tasks or episodes: {' | '.join(parts)}")
    return notes


def _budgets(group: Sequence[Evaluated]) -> list[str]:
    notes = []
    for what, (value_of, text) in BUDGETS.items():
        values: dict[str, list[float]] = {}
        for run, evaluation in group:
            value = value_of(run, evaluation.step)
            if value is not None:
                values.setdefault(run.label, []).append(value)
        means = {label: sum(measured) / len(measured) for label, measured in values.items()}
        if means and max(means.values()) > (1.0 + TOLERANCE) * min(means.values()):
            least, most = (
                f"{text(value)} ({', '.join(label for label in means if means[label] == value)})"
                for value in (min(means.values()), max(means.values()))
            )
            notes.append(f"{what} differ by more than {100 * TOLERANCE:.0f} %: {least} to {most}")
    return notes


def _layers(sizes: Sequence[int]) -> str:
    return " x ".join(map(str, sizes))
