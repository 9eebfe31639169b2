"""Choosing the evaluations that a report shows: one per run, all with the same settings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from clwm_data.errors import ConflictError, NotFoundError
from clwm_train.analysis.results import read_analyses
from clwm_train.config.train import LOGGING_KEYS
from clwm_train.evaluation.results import Evaluation, read_evaluations
from clwm_train.report.fairness import missing_bounds, unequal
from clwm_train.runs.checkpoint import list_checkpoints, read_record
from clwm_train.runs.metrics_log import shortened
from clwm_train.runs.run import METRICS, Run
from clwm_train.settings import (
    DEFAULT_EVALUATION,
    AnalysisSettings,
    EvaluationSettings,
    differences,
    shown,
)


@dataclass(frozen=True)
class Chosen:
    """Comparable evaluations.

    Attributes:
        settings: their common settings, apart from environments that differ between datasets; ``None`` if no
            run was evaluated.
        evaluations: one evaluation of every run that was evaluated, in the order of the runs.
        notes: remarks for the reader: evaluations that are not of the latest checkpoint, evaluations that are
            not shown, environments of one's own, runs without any, what the methods do not share, metrics
            that end too early.
    """

    settings: EvaluationSettings | None
    evaluations: tuple[tuple[Run, Evaluation], ...]
    notes: tuple[str, ...]


def choose_evaluations(runs: Iterable[Run], required: Mapping[str, Any] | None = None) -> Chosen:
    """One evaluation of every run, all with the same settings; ``env`` belongs to a dataset, and may differ
    between two.

    If all runs were evaluated with several settings, those nearest to the published ones are preferred; of
    several checkpoints the latest is taken.

    Args:
        runs: the runs; those that were not evaluated are left out.
        required: settings that evaluations must have, such as ``{"noise": 0.3}``.

    Raises:
        ConflictError: the runs were not evaluated in the same way, or runs with the same name were not
            trained in the same way.
        NotFoundError: no evaluation has the required settings.
    """
    runs = list(runs)
    kept = {run.path: _matching(run, required or {}) for run in runs}
    evaluated = [run for run in runs if kept[run.path]]
    listed = ", ".join(f"{name} {shown(value)}" for name, value in (required or {}).items())
    if not evaluated:
        if required:
            raise NotFoundError(f"no run was evaluated with {listed}: `clwm eval` does it")
        return Chosen(None, (), tuple(_shortened(runs)))
    settings, environments = _common_settings(evaluated, kept)
    shown_of = {run.path: _within(settings, environments[run.record.store_name]) for run in evaluated}
    chosen = [
        (run, next(one for one in kept[run.path] if one.settings == shown_of[run.path])) for run in evaluated
    ]
    check_alike(runs, {run.path: evaluation.step for run, evaluation in chosen})
    _check_contexts(chosen)
    notes = [*_stale(chosen)]
    others = {
        _departures(one.settings, shown_of[run.path])
        for run in evaluated
        for one in kept[run.path]
        if one.settings != shown_of[run.path]
    }
    if others:
        notes.append(f"not shown: evaluations with other settings ({' | '.join(sorted(others))})")
    if len({*environments.values()}) == 1:
        settings = shown_of[evaluated[0].path]
    else:
        places = [f"{name} in {env or 'those of its family'}" for name, env in environments.items()]
        notes.append(f"environments: {', '.join(places)}")
    if missing := [run.path.name for run in runs if not kept[run.path]]:
        notes.append(f"not evaluated{f' with {listed}' if listed else ''}: {', '.join(missing)}")
    notes += unequal(chosen)
    notes += missing_bounds(chosen)
    notes += _shortened(runs)
    return Chosen(settings, tuple(chosen), tuple(notes))


def check_alike(runs: Sequence[Run], steps: Mapping[Any, int]) -> None:
    """Check that runs that would be pooled or compared under one name are alike.

    Args:
        runs: the runs to compare.
        steps: run's path -> update of the evaluated checkpoint.

    Raises:
        ConflictError: two datasets with the same name differ; or runs of one method on one dataset differ in
            their configuration (apart from seeds and logging) or in the evaluated update.
    """
    data: dict[str, Run] = {}
    methods: dict[tuple[str, str], Run] = {}
    updates: dict[tuple[str, str], Run] = {}
    for run in runs:
        record = run.record
        first = data.setdefault(record.store_name, run)
        if (first.record.store_sha256, first.record.family) != (record.store_sha256, record.family):
            raise ConflictError(
                f"{first.path} and {run.path}: learned from different data that is called "
                f"{record.store_name} (sha256 {first.record.store_sha256[:12]}, {record.store_sha256[:12]}): "
                "leave one out"
            )
        key = (record.store_name, run.label)
        first = methods.setdefault(key, run)
        if changed := _configuration_differences(first, run):
            raise ConflictError(
                f"{first.path} and {run.path}: are both called {run.label} and differ in "
                f"{', '.join(changed)}: give one of them another name (`clwm train --name`), or leave one out"
            )
        if run.path in steps:
            first = updates.setdefault(key, run)
            if steps[first.path] != steps[run.path]:
                raise ConflictError(
                    f"{first.path} was evaluated at update {steps[first.path]:,}, {run.path} at update "
                    f"{steps[run.path]:,}, and both are {run.label} on {record.store_name}: evaluate them "
                    "at the same update (`clwm eval --checkpoint`), or leave one out"
                )


def choose_analyses(runs: Sequence[Run]) -> AnalysisSettings | None:
    """Settings with which all runs were analysed that were analysed at all; ``None`` if none was.

    Of several those are preferred with which most was measured, then the usual ones.

    Raises:
        ConflictError: their settings differ.
    """
    kept = [(run, analyses) for run in runs if (analyses := read_analyses(run))]
    if not kept:
        return None
    settings_of = {run.path: {one.settings for one in analyses} for run, analyses in kept}
    first, candidates = kept[0]
    shared = [one.settings for one in candidates if all(one.settings in its for its in settings_of.values())]
    if shared:
        measured = [
            (one.settings, sum(part is not None for _, part in one.seeds[0]))
            for _, analyses in kept
            for one in analyses
        ]
        return max(shared, key=lambda settings: sum(parts for of, parts in measured if of == settings))
    for other, analyses in kept[1:]:
        if not settings_of[first.path] & settings_of[other.path]:
            changed = differences(candidates[0].settings, analyses[0].settings)
            raise ConflictError(
                f"{first.path} and {other.path}: were analysed in different ways ({', '.join(changed)}): "
                "analyse one of them again (`clwm analyse`), or leave it out"
            )
    raise ConflictError(
        f"{first.path} and {len(kept) - 1} more: no settings of analyses are common to all of them: analyse "
        "all of them in the same way (`clwm analyse`), or leave some out"
    )


def _matching(run: Run, required: Mapping[str, Any]) -> list[Evaluation]:
    """A run's evaluations with the required settings, those with contexts from its own data first."""
    matching = [
        evaluation
        for evaluation in read_evaluations(run)
        if all(getattr(evaluation.settings, name) == value for name, value in required.items())
    ]
    return sorted(matching, key=lambda evaluation: evaluation.store_sha256 != run.record.store_sha256)


def _common_settings(
    runs: Sequence[Run], kept: Mapping[Any, Sequence[Evaluation]]
) -> tuple[EvaluationSettings, dict[str, str | None]]:
    """Settings that all runs share, without an environment, and the environment of each dataset."""
    candidates = [one.settings for one in kept[runs[0].path]]
    candidates.sort(key=lambda settings: len(differences(settings, DEFAULT_EVALUATION)))
    for settings in map(_within, candidates):
        environments: dict[str, set[str | None]] = {}
        for run in runs:
            its = {one.settings.env for one in kept[run.path] if _within(one.settings) == settings}
            environments[run.record.store_name] = environments.get(run.record.store_name, its) & its
        if all(environments.values()):
            return settings, {
                name: min(envs, key=lambda env: env or "") for name, envs in environments.items()
            }
    first = runs[0]
    for other in runs[1:]:
        alike = other.record.store_name == first.record.store_name
        lefts, rights = (
            [settings if alike else _within(settings) for settings in side]
            for side in (candidates, [one.settings for one in kept[other.path]])
        )
        if not {*lefts} & {*rights}:
            left, right = lefts[0], rights[0]
            parts = [
                f"{name} {shown(getattr(left, name))} and {shown(getattr(right, name))}"
                for name in differences(left, right)
            ]
            raise ConflictError(
                f"{first.path} and {other.path}: were evaluated in different ways ({'; '.join(parts)}): "
                "evaluate one of them again as the other was, or leave it out"
            )
    raise ConflictError(
        f"{first.path} and {len(runs) - 1} more: no evaluation settings are common to all of them: evaluate "
        "all of them in the same way, or leave some out"
    )


def _within(settings: EvaluationSettings, env: str | None = None) -> EvaluationSettings:
    """The settings in another environment; ``None``: the family's own."""
    return settings.model_copy(update={"env": env})


def _departures(settings: EvaluationSettings, usual: EvaluationSettings) -> str:
    """How settings differ from others: ``episodes 10; noise 0.3``."""
    return "; ".join(
        f"{name.replace('_', ' ')} {shown(getattr(settings, name))}" for name in differences(settings, usual)
    )


def _check_contexts(chosen: Sequence[tuple[Run, Evaluation]]) -> None:
    """Check that contexts of one dataset come from the same data."""
    firsts: dict[str, tuple[Run, Evaluation]] = {}
    for run, evaluation in chosen:
        first, other = firsts.setdefault(run.record.store_name, (run, evaluation))
        if other.store_sha256 != evaluation.store_sha256:
            raise ConflictError(
                f"{first.path} and {run.path}: were evaluated with contexts of different data "
                f"(sha256 {other.store_sha256[:12]}, {evaluation.store_sha256[:12]}): evaluate one of them "
                "again, or leave it out"
            )


def _stale(chosen: Sequence[tuple[Run, Evaluation]]) -> list[str]:
    """Notes on runs that were trained further after their evaluation."""
    notes = []
    for run, evaluation in chosen:
        checkpoints = list_checkpoints(run.checkpoints)
        latest = read_record(checkpoints[-1]).step if checkpoints else evaluation.step
        if latest != evaluation.step:
            notes.append(
                f"{run.path.name}: shown at update {evaluation.step:,}, and trained to update {latest:,}"
            )
    return notes


def _shortened(runs: Sequence[Run]) -> list[str]:
    """Notes on runs whose metrics end before their training did: curves would only look shorter."""
    notes = []
    for run in runs:
        file, checkpoints = run.path / METRICS, list_checkpoints(run.checkpoints)
        if file.is_file() and checkpoints:  # published runs have no metrics
            step = read_record(checkpoints[-1]).step
            notes.append(shortened(file, run.record.seeds, step=step, every=run.config.log_every))
    return [note for note in notes if note is not None]


def _configuration_differences(first: Run, other: Run) -> list[str]:
    """Keys in which two configurations differ, apart from logging (and the updates, which are shown)."""
    left, right = _flat(first), _flat(other)
    return sorted(key for key in {*left, *right} if left.get(key) != right.get(key))


def _flat(run: Run) -> dict[str, Any]:
    config = run.config.model_dump(mode="json", exclude={*LOGGING_KEYS})
    if not run.config.learning_rate_decay:  # the number of updates then only says when training ends
        del config["steps"]
    flat: dict[str, Any] = {}

    def visit(value: Any, name: str) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                visit(inner, f"{name}.{key}" if name else key)
        else:
            flat[name] = value

    visit(config, "")
    return flat
