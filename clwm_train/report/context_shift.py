"""Contexts of one behaviour each: how far what is inferred depends on who collected the context."""

from __future__ import annotations

from collections.abc import Sequence

from clwm_data.pages.charts import Chart
from clwm_train.evaluation.results import Evaluation, read_evaluations
from clwm_train.report.figure import THIRD, Figure, common_axis, estimates, method_classes
from clwm_train.report.scores import Score, gather_scores
from clwm_train.runs.run import Run
from clwm_train.settings import EvaluationSettings

#: What contexts from a task's whole data are called.
WHOLE = "all data"
#: Settings in which these evaluations may differ from those of the report.
OTHER = ("protocols", "splits", "context_behaviour")

#: (dataset, split) -> behaviour -> method -> score.
Matrix = dict[tuple[str, str], dict[str, dict[str, Score]]]


def context_shift_figure(
    evaluations: Sequence[tuple[Run, Evaluation]], settings: EvaluationSettings | None, methods: Sequence[str]
) -> Figure | None:
    """Few-shot returns by the behaviour that collected the context; ``None`` if there is only one kind.

    Args:
        evaluations: those that the report shows, for contexts from all data.
        settings: their settings.
        methods: all methods, in order.
    """
    if settings is None or settings.context_behaviour is not None:
        return None
    chosen: dict[str, list[tuple[Run, Evaluation]]] = {WHOLE: list(evaluations)}
    for run, shown in evaluations:
        for one in read_evaluations(run):
            name = one.settings.context_behaviour
            same = (one.step, one.store_sha256) == (shown.step, shown.store_sha256)
            if name is not None and same and _alike(one.settings, shown.settings):
                rows = chosen.setdefault(name, [])
                if all(before is not run for before, _ in rows):
                    rows.append((run, one))
    if len(chosen) == 1:
        return None
    matrix: Matrix = {}
    for name, rows in chosen.items():
        for score in gather_scores(rows):
            if score.protocol == "few-shot":
                by = matrix.setdefault((score.dataset, score.split), {})
                by.setdefault(name, {})[score.method] = score
    shifted = {part: by for part, by in matrix.items() if len(by) > 1 and part[1] != "train"}
    if not shifted:
        return None
    return _figure(shifted, methods)


def _alike(one: EvaluationSettings, other: EvaluationSettings) -> bool:
    return one.model_copy(update={name: getattr(other, name) for name in OTHER}) == other


def _figure(matrix: Matrix, methods: Sequence[str]) -> Figure:
    css = method_classes(methods)
    values = {
        (*part, method): {name: scores[method].estimate for name, scores in by.items() if method in scores}
        for part, by in matrix.items()
        for method in methods
    }
    values = {key: by for key, by in values.items() if len(by) > 1}
    panels = []
    for (dataset, split, method), by in values.items():
        scaled = all(score.normalised is not None for score in matrix[dataset, split][WHOLE].values())
        same = [
            value for (other, _, _), each in values.items() if other == dataset for value in each.values()
        ]
        points = [value.point for value in same]
        low, high = (0.0, 1.0) if scaled else (min(points), max(points))
        axis = common_axis(same, "normalised return (IQM)" if scaled else "return", low=low, high=high)
        lines = dict.fromkeys(by, css[method])
        panels.append(estimates(by, lines, axis, f"{dataset}, {split}: {method}", width=THIRD))
    rows = [
        (dataset, method, split, name, value.point, value.low, value.high)
        for (dataset, split, method), by in values.items()
        for name, value in by.items()
    ]
    return Figure(
        "context-shift",
        "Contexts of one behaviour",
        "Few-shot returns where the context comes from the episodes of one behaviour policy, beside contexts "
        "from all of a task's data: IQM of the normalised return (mean return without references), with 95 % "
        "stratified bootstrap intervals over seeds.",
        Chart(panels, "Contexts of one behaviour"),
        ("dataset", "method", "split", "context", "point", "low", "high"),
        rows,
    )
