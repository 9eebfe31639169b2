"""The figures of the pages of results."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from clwm_data.pages.charts import Chart
from clwm_train.metrics.aggregate import Interval, Scores, aggregate, iqm, optimality_gap
from clwm_train.report.figure import THIRD, common_axis, estimates, method_classes, spread
from clwm_train.report.learned import DISENTANGLEMENT, REPRESENTATION
from clwm_train.report.learning import learning_figures
from clwm_train.report.scores import same_agents
from docs.generate.results.cells import Cell, Measured
from docs.generate.results.learned import disentanglement, final_representation
from docs.generate.results.tables import PARTS, REPLICATES, over_datasets


def drawings(benchmark: Measured, formulations: Measured) -> Iterator[tuple[str, Chart]]:
    """Name and chart of every figure that there are numbers for."""
    for name, chart in (
        ("reference-few-shot", few_shot(benchmark)),
        ("reference-aggregates", aggregates(benchmark)),
        ("reference-learning", learning(benchmark)),
        ("reference-formulations", formulation_returns(formulations)),
        ("reference-representation", representation(benchmark)),
        ("reference-disentanglement", disentangled(benchmark)),
    ):
        if chart is not None:
            yield name, chart


def few_shot(measured: Measured) -> Chart | None:
    """Figure 5: IQM of few-shot returns on id tasks, a panel for each dataset."""
    values = {
        dataset: {
            method: _returns(measured, Cell(dataset, method, "few-shot", "id")) for method in measured.methods
        }
        for dataset in measured.datasets
    }
    return _panels(values, measured.methods, "normalised return (IQM)")


def aggregates(measured: Measured) -> Chart | None:
    """IQM of the returns over all common datasets, a panel for each protocol and split."""
    values = {}
    for part, title in PARTS.items():
        pooled, _ = over_datasets(measured, part)
        values[title] = {method: _aggregate(pooled.get(method), iqm) for method in measured.methods}
    return _panels(values, measured.methods, "normalised return (IQM)")


def learning(measured: Measured) -> Chart | None:
    """Few-shot returns on id tasks while training, against updates, a panel for each dataset."""
    figures = learning_figures(measured.runs, measured.methods)
    return figures[0].chart if figures else None


def formulation_returns(measured: Measured) -> Chart | None:
    """Figure 4: IQM and optimality gap over all common datasets, few-shot on id tasks; not of SPC alone."""
    if len({method for _, method in measured.runs}) < 2:
        return None
    pooled, _ = over_datasets(measured, ("few-shot", "id"))
    values = {
        title: {method: _aggregate(pooled.get(method), statistic) for method in measured.methods}
        for title, statistic in (("IQM", iqm), ("optimality gap", optimality_gap))
    }
    return _panels(values, measured.methods, "normalised return")


def representation(measured: Measured) -> Chart | None:
    """Figure 2: metrics of the context encoder at the end; mean and range over datasets and seeds."""
    values = {}
    for name, title in REPRESENTATION.items():
        by_method = {}
        for method in measured.methods:
            measured_values = [
                value
                for dataset in measured.datasets
                for value in final_representation(measured.runs.get((dataset, method), ()), name)
            ]
            by_method[method] = spread(measured_values) if measured_values else None
        values[title] = by_method
    return _panels(values, measured.methods, None)


def disentangled(measured: Measured) -> Chart | None:
    """Figure 3: DCI and InfoMEC, a row for each family of length and speed; mean and range over seeds."""
    values = {}
    for dataset in measured.datasets:
        scores = {
            method: disentanglement(measured.runs.get((dataset, method), ())) for method in measured.methods
        }
        if any(scores.values()):
            for name, title in DISENTANGLEMENT.items():
                values[f"{dataset}: {title}"] = {
                    method: spread(of_method[name]) if of_method.get(name) else None
                    for method, of_method in scores.items()
                }
    return _panels(values, measured.methods, "score")


def _panels(
    values: Mapping[str, Mapping[str, Interval | None]], methods: Sequence[str], along: str | None
) -> Chart | None:
    """A panel for each title, on one axis, or where ``along`` is ``None`` on axes of their own.

    Methods and titles without any value are left out.
    """
    shown = [method for method in methods if any(by.get(method) is not None for by in values.values())]
    kept = {title: by for title, by in values.items() if any(by.get(method) is not None for method in shown)}
    if not kept:
        return None
    css = method_classes(methods)
    intervals = [interval for by in kept.values() for interval in by.values()]
    panels = [
        estimates(
            {method: by.get(method) for method in shown},
            css,
            common_axis(
                intervals if along else by.values(), along or title, low=0.0, high=1.0 if along else 0.1
            ),
            title,
            width=THIRD,
        )
        for title, by in kept.items()
    ]
    return Chart(panels, along or "", columns=2 if len(panels) in (2, 4) else 3)


def _returns(measured: Measured, cell: Cell) -> Interval | None:
    score = measured.scores.get(cell)
    if score is None or score.normalised is None:
        return None
    return _aggregate(same_agents(score.normalised), iqm)


def _aggregate(scores: Scores | None, statistic: Callable[[np.ndarray], np.ndarray]) -> Interval | None:
    return None if scores is None else aggregate(scores, statistic, replicates=REPLICATES)
