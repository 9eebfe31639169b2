"""What has been measured of an experiment, and what is missing or outdated."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple, get_args

from clwm_train.config import TrainConfig
from clwm_train.evaluation.results import Evaluation, read_evaluations
from clwm_train.methods.resolve import resolve
from clwm_train.report.scores import Score, gather_scores
from clwm_train.runs.run import RECORD, Run, open_run, resolve_for
from clwm_train.settings import Inference
from clwm_train.sweep import Experiment, Job, list_jobs
from docs.generate.results.record import NUMBERS, file_digests, read_result

#: A dataset and a method.
Key = tuple[str, str]


class Cell(NamedTuple):
    """A place in a table of returns."""

    dataset: str
    method: str
    protocol: str
    split: str


@dataclass(frozen=True)
class Measured:
    """The results of an experiment.

    Attributes:
        experiment: the experiment.
        methods: its methods, in order.
        datasets: names of its datasets, in order.
        runs: (dataset, method) -> its runs in results/.
        scores: of the experiment's own evaluation.
        inferred: inference of the world model -> those of the evaluations with it.
        planned: those of the evaluations in which the planner acts.
        missing: (dataset, method) -> seeds that were not measured.
        outdated: (dataset, method) -> why its numbers are no longer those of the code.
    """

    experiment: Experiment
    methods: tuple[str, ...]
    datasets: tuple[str, ...]
    runs: Mapping[Key, tuple[Run, ...]]
    scores: Mapping[Cell, Score]
    inferred: Mapping[str, Mapping[Cell, Score]]
    planned: Mapping[Cell, Score]
    missing: Mapping[Key, tuple[int, ...]]
    outdated: Mapping[Key, str]


def measure(experiment: Experiment, folder: Path) -> Measured:
    """Read the results of an experiment.

    Args:
        experiment: the experiment as its file says now.
        folder: folder of its results.
    """
    jobs = list_jobs(experiment, {store: Path(f"{store}.zarr") for store in experiment.stores}, folder)
    asked: dict[Key, list[Job]] = {}
    for job in jobs:
        asked.setdefault((job.store.stem, job.label), []).append(job)
    present: dict[Key, list[Run]] = {}
    for file in sorted(folder.glob(f"*/{RECORD}")):
        run = open_run(file.parent)
        present.setdefault((run.record.store_name, run.label), []).append(run)
    runs: dict[Key, tuple[Run, ...]] = {}
    missing: dict[Key, tuple[int, ...]] = {}
    outdated: dict[Key, str] = {}
    own: list[tuple[Run, Evaluation]] = []
    inferred: dict[str, list[tuple[Run, Evaluation]]] = {}
    planned: list[tuple[Run, Evaluation]] = []
    for key, group in asked.items():
        settings = group[0].evaluations
        kept = []
        for run in present.get(key, []):
            evaluations = read_evaluations(run)
            chosen = [one for one in evaluations if one.settings == settings[0]]
            if chosen:
                kept.append(run)
                own.append((run, chosen[0]))
                for one in evaluations:
                    if one.settings not in settings[1:]:
                        continue
                    if one.settings.planner is not None:
                        planned.append((run, one))
                    elif one.settings.inference != "encoder":
                        inferred.setdefault(one.settings.inference, []).append((run, one))
                reason = _outdated(group[0], run)
                if reason is not None:
                    outdated[key] = reason
        if kept:
            runs[key] = tuple(kept)
        absent = {seed for job in group for seed in job.seeds} - {
            seed for run in kept for seed in run.record.seeds
        }
        if absent:
            missing[key] = tuple(sorted(absent))
    return Measured(
        experiment=experiment,
        methods=tuple(experiment.methods),
        datasets=tuple(dict.fromkeys(dataset for dataset, _ in asked)),
        runs=runs,
        scores=_by_cell(own),
        inferred={name: _by_cell(inferred[name]) for name in get_args(Inference) if name in inferred},
        planned=_by_cell(planned),
        missing=missing,
        outdated=outdated,
    )


def borrow(
    measured: Measured, method: str, other: Measured, datasets: Collection[str] | None = None
) -> Measured:
    """The results with those of a method of another experiment, where they are missing here.

    Args:
        measured: the results.
        method: label of the method.
        other: the results of the other experiment.
        datasets: those to borrow on; by default all.
    """
    keys = [
        key
        for key in measured.missing
        if key[1] == method and key in other.runs and key not in measured.runs
        if datasets is None or key[0] in datasets
    ]
    if not keys:
        return measured
    cells = {cell: score for cell, score in other.scores.items() if (cell.dataset, cell.method) in keys}
    return replace(
        measured,
        runs={**measured.runs, **{key: other.runs[key] for key in keys}},
        scores={**measured.scores, **cells},
        missing={key: seeds for key, seeds in measured.missing.items() if key not in keys},
        outdated={**measured.outdated, **{key: other.outdated[key] for key in keys if key in other.outdated}},
    )


def _by_cell(evaluations: list[tuple[Run, Evaluation]]) -> dict[Cell, Score]:
    return {
        Cell(score.dataset, score.method, score.protocol, score.split): score
        for score in gather_scores(evaluations)
    }


def _outdated(job: Job, run: Run) -> str | None:
    """Why the numbers of a run are no longer what the code and the experiment's file make."""
    result = read_result(run)
    if result.numbers != NUMBERS:
        return f"made by numbers {result.numbers}, now {NUMBERS}"
    if result.files != file_digests(run.path):
        return "its files were changed by hand"
    config = resolve_for(run.task_family, resolve(job.method, job.preset, job.overrides))
    if job.minutes is not None:
        config = config.model_copy(update={"steps": run.config.steps})
    if _spelled_out(config) != _spelled_out(run.config):
        return "the experiment now says another configuration"
    return None


def _spelled_out(config: TrainConfig) -> TrainConfig:
    """The configuration with what ``auto`` stands for: either spelling trains the same."""
    policy = config.policy.model_copy(update={"head": config.policy_head})
    return config.model_copy(update={"features": config.sees, "policy": policy})
