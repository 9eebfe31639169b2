"""Scores of many runs, grouped by method, dataset, protocol and split."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from clwm_data.errors import ConflictError, NotFoundError
from clwm_data.families import TaskFamily
from clwm_data.pages.numbers import number
from clwm_data.references import normalised_return
from clwm_data.references.table import References, reference_of
from clwm_train.analysis.results import Analysis, read_analyses
from clwm_train.evaluation.results import Evaluation
from clwm_train.metrics.aggregate import Grouped, Interval, aggregate, iqm, mean
from clwm_train.runs.metrics_log import PROCESSOR_SECONDS, read_metrics
from clwm_train.runs.run import METRICS, Run
from clwm_train.settings import AnalysisSettings

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Score:
    """Evaluations of one method on one dataset, with one protocol and split.

    Attributes:
        method: its name in tables.
        dataset: name of the store.
        family: name of the task family.
        protocol: such as ``few-shot``.
        split: train, id or ood.
        tasks: [T] family indices.
        seeds: [S].
        returns: [S, T] mean returns.
        normalised: [S, T] on the scale of random actions (0) and the expert (1); ``None`` for families
            without reference returns.
        success: [S, T] share of solved episodes; ``None`` if the family has no success.
        update: update of the evaluated checkpoint.
        transitions: transitions that policy and critics learn from in one update.
        processor_seconds: processor time of the training until then, per seed; ``None`` if unknown.
        probe: R^2 of the linear probe from z to the task parameters on this split, mean over parameters and
            seeds; ``None`` if it was not analysed.
        group_success: benchmark -> [S] mean success, in a family that joins several; else empty.
    """

    method: str
    dataset: str
    family: str
    protocol: str
    split: str
    tasks: tuple[int, ...]
    seeds: tuple[int, ...]
    returns: Floats
    normalised: Floats | None
    success: Floats | None
    update: int
    transitions: int
    processor_seconds: float | None
    probe: float | None = None
    group_success: Mapping[str, Floats] = field(default_factory=dict)

    @property
    def estimate(self) -> Interval:
        """The IQM of the normalised returns, or the mean return if there are no reference returns."""
        if self.normalised is None:
            return aggregate(same_agents(self.returns), mean)
        return aggregate(same_agents(self.normalised), iqm)


def same_agents(values: Floats) -> Grouped:
    """Scores [S, T] of the agents of one dataset, each of which played all T tasks."""
    return Grouped(values, (0,) * values.shape[1])


def gather_scores(
    evaluations: Iterable[tuple[Run, Evaluation]],
    references: References | None = None,
    settings: AnalysisSettings | None = None,
) -> list[Score]:
    """The scores of comparable evaluations, see :func:`~clwm_train.report.choosing.choose_evaluations`.

    Runs of the same method and dataset are seeds of one score.

    Args:
        evaluations: the evaluations.
        references: task -> mean returns of random actions and of the expert; by default those of the family
            or, where it has none, those that the evaluations were made with.
        settings: settings of the analyses that probes are of; by default the first analysis of a run.

    Raises:
        ConflictError: two runs have the same seed, or runs of one method were evaluated on different tasks.
    """
    rows: dict[tuple[str, str, str, str], list[_Row]] = {}
    for run, evaluation in evaluations:
        spent = processor_seconds(run, evaluation.step)
        analyses = (one for one in read_analyses(run) if one.step == evaluation.step)
        analysis = next((one for one in analyses if settings in (None, one.settings)), None)
        for row, (seed, results) in enumerate(zip(run.record.seeds, evaluation.results, strict=True)):
            for protocol, splits in results.items():
                for split, result in splits.items():
                    key = (run.record.store_name, run.label, protocol, split)
                    success = result.task_success
                    rows.setdefault(key, []).append(
                        _Row(
                            run,
                            evaluation.step,
                            seed,
                            tuple(map(int, result.tasks)),
                            list(result.tasks.values()),
                            None if success is None else list(success.values()),
                            {
                                name: group.success
                                for name, group in (result.groups or {}).items()
                                if group.success is not None
                            },
                            spent,
                            result.task_normalised,
                            _probe(analysis, row, split),
                        )
                    )
    return [_joined(key, group, references) for key, group in rows.items()]


@dataclass(frozen=True)
class _Row:
    """One seed's part of a score."""

    run: Run
    step: int
    seed: int
    tasks: tuple[int, ...]
    returns: list[float]
    success: list[float] | None
    group_success: dict[str, float]
    processor_seconds: float | None
    normalised: dict[str, float] | None
    probe: float | None


def _probe(analysis: Analysis | None, number: int, split: str) -> float | None:
    """R^2 of the linear probe of one of a run's seeds, mean over the task parameters."""
    by_split = None if analysis is None else analysis.seeds[number].probe
    values = (by_split or {}).get(split)
    return float(np.mean(list(values.values()))) if values else None


def processor_seconds(run: Run, step: int) -> float | None:
    """Processor time of a training until an update, for each of its seeds; ``None`` if it was not logged."""
    file = run.path / METRICS
    spent = None
    for row in read_metrics(file, run.record.seeds) if file.is_file() else ():
        if row["step"] <= step and PROCESSOR_SECONDS in row:
            spent = row[PROCESSOR_SECONDS] * step / row["step"]
    return None if spent is None else spent / len(run.record.seeds)


def _joined(key: tuple[str, str, str, str], rows: Sequence[_Row], references: References | None) -> Score:
    dataset, method, protocol, split = key
    first = rows[0]
    for place, row in enumerate(rows):
        if row.tasks != first.tasks or row.run.record.family != first.run.record.family:
            raise ConflictError(
                f"{first.run.path} and {row.run.path}: were evaluated on different tasks: leave one out"
            )
        for other in rows[:place]:
            if row.seed == other.seed:
                raise ConflictError(
                    f"{other.run.path}, {row.run.path}: both hold seed {row.seed} of {method} on {dataset}: "
                    f"leave one out"
                )
    rows = sorted(rows, key=lambda row: row.seed)
    returns = np.asarray([row.returns for row in rows])
    successes = [row.success for row in rows if row.success is not None]
    times = [row.processor_seconds for row in rows if row.processor_seconds is not None]
    probes = [row.probe for row in rows if row.probe is not None]
    return Score(
        method=method,
        dataset=dataset,
        family=first.run.record.family,
        protocol=protocol,
        split=split,
        tasks=first.tasks,
        seeds=tuple(row.seed for row in rows),
        returns=returns,
        normalised=_normalised(rows, returns, references),
        success=np.asarray(successes) if len(successes) == len(rows) else None,
        update=first.step,
        transitions=first.run.config.transitions_per_update,
        processor_seconds=float(np.mean(times)) if len(times) == len(rows) else None,
        probe=float(np.mean(probes)) if len(probes) == len(rows) else None,
        group_success={
            name: np.asarray([row.group_success[name] for row in rows])
            for name in first.group_success
            if all(name in row.group_success for row in rows)
        },
    )


def _normalised(rows: Sequence[_Row], returns: Floats, references: References | None) -> Floats | None:
    """[S, T], or ``None`` where no references are known."""
    first = rows[0]
    pairs: list[tuple[float, float]]
    if references is not None:
        pairs = [reference_of(references, task) for task in first.tasks]
    else:
        family = known_family(first.run)
        if family is None or not family.has_references:
            kept = [row.normalised for row in rows if row.normalised is not None]
            return np.asarray([list(one.values()) for one in kept]) if len(kept) == len(rows) else None
        pairs = [family.reference_returns(task) for task in first.tasks]
    columns = [normalised_return(column, *pair) for column, pair in zip(returns.T, pairs, strict=True)]
    return np.stack(columns, 1)


def known_family(run: Run) -> TaskFamily | None:
    """The family of a run; ``None`` if it is not known here."""
    try:
        return run.task_family
    except NotFoundError:
        return None


Part = tuple[str, str]
#: method -> normalised scores [S, tasks of all datasets], grouped by dataset.
Pooled = dict[str, Grouped]


@dataclass(frozen=True)
class Comparison:
    """Methods compared on the datasets that all of them were run on.

    Attributes:
        parts: (protocol, split) -> method -> scores.
        datasets: names of these datasets.
    """

    parts: dict[Part, Pooled]
    datasets: tuple[str, ...]


def compare(scores: Sequence[Score], methods: Sequence[str], parts: Sequence[Part]) -> Comparison:
    """Normalised scores of methods on all their common datasets.

    A method's seeds are those that it has on all of these datasets. Parts without a common dataset and
    datasets without reference returns are left out.
    """
    pooled: dict[Part, Pooled] = {}
    datasets: dict[str, None] = {}
    for part in parts:
        by_method: dict[str, dict[str, Score]] = {}
        for score in scores:
            if (
                (score.protocol, score.split) == part
                and score.normalised is not None
                and score.method in methods
            ):
                by_method.setdefault(score.method, {})[score.dataset] = score
        if not by_method:
            continue
        common = set.intersection(*(set(on_datasets) for on_datasets in by_method.values()))
        names = [name for name in next(iter(by_method.values())) if name in common]
        joined = {
            method: _side_by_side([by_method[method][name] for name in names])
            for method in methods
            if method in by_method
        }
        kept = {method: scored for method, scored in joined.items() if scored is not None}
        if kept:
            pooled[part] = kept
            datasets |= dict.fromkeys(names)
    return Comparison(pooled, tuple(datasets))


def _side_by_side(scores: Sequence[Score]) -> Grouped | None:
    """[common seeds, all tasks] of several datasets; ``None`` if there are none."""
    seeds = sorted(set.intersection(*(set(score.seeds) for score in scores))) if scores else []
    parts = [
        score.normalised[[score.seeds.index(seed) for seed in seeds]]
        for score in scores
        if score.normalised is not None
    ]
    groups = [dataset for dataset, part in enumerate(parts) for _ in range(part.shape[1])]
    return Grouped(np.concatenate(parts, 1), groups) if seeds else None


#: Columns of the table of results, for people and for programs.
HEADER = (
    "dataset",
    "method",
    "protocol",
    "split",
    "mean return",
    "normalised (IQM)",
    "success",
    "update",
    "tasks",
    "seeds",
    "transitions/update",
    "processor min/seed",
    "probe R\u00b2",
)
CSV_HEADER = (
    *HEADER[:4],
    *(f"{name}{end}" for name in ("return", "normalised_iqm", "success") for end in ("", "_low", "_high")),
    *HEADER[7:10],
    "transitions_per_update",
    "processor_seconds_per_seed",
    "probe_r2",
)


def results_table(scores: Sequence[Score]) -> list[tuple[str, ...]]:
    """A row per score under ``HEADER``, with 95 % intervals where there are several seeds."""
    return [
        (
            *_names(score),
            *(shown(value, places) for value, places in _aggregates(score)),
            *_counts(score),
            "-" if score.processor_seconds is None else number(score.processor_seconds / 60.0, 1),
            "-" if score.probe is None else number(score.probe, 2),
        )
        for score in scores
    ]


def results_csv(scores: Sequence[Score]) -> list[tuple[str | float | None, ...]]:
    """A row of numbers per score under ``CSV_HEADER``."""
    return [
        (
            *_names(score),
            *(
                bound
                for value, _ in _aggregates(score)
                for bound in ((None,) * 3 if value is None else (value.point, value.low, value.high))
            ),
            *_counts(score),
            score.processor_seconds,
            score.probe,
        )
        for score in scores
    ]


def _names(score: Score) -> tuple[str, ...]:
    return score.dataset, score.method, score.protocol, score.split


def _counts(score: Score) -> tuple[str, ...]:
    return str(score.update), str(len(score.tasks)), str(len(score.seeds)), str(score.transitions)


def _aggregates(score: Score) -> tuple[tuple[Interval | None, int], ...]:
    """Mean return, IQM of the normalised returns, mean success, and how to write them."""
    return (
        (aggregate(same_agents(score.returns), mean), 1),
        (None if score.normalised is None else aggregate(same_agents(score.normalised), iqm), 3),
        (None if score.success is None else aggregate(same_agents(score.success), mean), 2),
    )


def shown(interval: Interval | None, places: int) -> str:
    """``0.93 [0.91, 0.95]``; only the point if there is no interval; ``-`` for ``None``."""
    if interval is None:
        return "-"
    point = number(interval.point, places)
    if interval.low is None or interval.high is None:
        return point
    return f"{point} [{number(interval.low, places)}, {number(interval.high, places)}]"
