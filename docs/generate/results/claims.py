"""What the paper's figures claim, and whether these results confirm it: one rule, from the numbers alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np

from clwm_train.metrics.aggregate import Interval
from clwm_train.report.learned import DISENTANGLEMENT
from clwm_train.report.scores import shown
from clwm_train.runs.run import Run
from docs.generate.results.cells import Measured
from docs.generate.results.learned import disentanglement, final_representation
from docs.generate.results.tables import ABSENT, Table, improves, keys_of, mark, over_datasets

#: The method of the claims.
SPC = "spc"
#: Methods that the claims are not about: a floor and a ceiling.
BOUNDS = ("no-context", "oracle", "bc")

#: What is shown where the numbers decide nothing.
UNDECIDED, CONFIRMED, CONTRADICTED = "undecided", "confirmed", "contradicted"


def verdict(intervals: Mapping[str, Interval | None]) -> str:
    """The verdict on "better than each of the others", from the probabilities of it.

    Confirmed if all intervals lie above one half; contradicted if one lies below; else undecided, as where a
    comparison is missing or has one seed.
    """
    known = [interval for interval in intervals.values() if interval is not None]
    if any(interval.high is not None and interval.high < 0.5 for interval in known):
        return CONTRADICTED
    decided = [interval.low is not None and interval.low > 0.5 for interval in known]
    return CONFIRMED if decided and all(decided) and len(known) == len(intervals) else UNDECIDED


def claims(benchmark: Measured, formulations: Measured) -> Table:
    """The paper's figures beside these results."""
    baselines = [
        label
        for label, entry in benchmark.experiment.methods.items()
        if label not in BOUNDS and (entry.method if entry and entry.method else label) != SPC
    ]
    few, datasets = over_datasets(benchmark, ("few-shot", "id"))
    returns = {method: improves(few.get(SPC), few.get(method)) for method in baselines}
    pooled, on = over_datasets(formulations, ("few-shot", "id"))
    others = [method for method in formulations.methods if method != SPC]
    losses = {method: improves(pooled.get(SPC), pooled.get(method)) for method in others}
    rows = [
        _row(
            benchmark,
            "Figure 5: on unseen id tasks SPC has higher few-shot returns than each baseline",
            returns,
            datasets,
        ),
        _row(
            formulations,
            "Figure 4: the classification loss makes the gain: SPC is better than each of the other "
            "formulations, also those with the same bounded or discrete codes",
            losses,
            on,
        ),
        _learned(
            benchmark,
            baselines,
            "Figure 2: SPC's context encoder has features of higher rank",
            lambda runs: final_representation(runs, "feature_rank"),
        ),
        _learned(
            benchmark,
            baselines,
            "Figure 2: SPC's context encoder has fewer dormant neurons",
            lambda runs: [-value for value in final_representation(runs, "dormant_ratio")],
        ),
        *(
            _learned(
                benchmark,
                baselines,
                f"Figure 3: SPC's representations score higher, {DISENTANGLEMENT[name]}",
                partial(_disentanglement, name),
            )
            for name in ("disentanglement", "modularity")
        ),
    ]
    return Table(["claim", "P(SPC better) over each", "on", "here"], rows)


def _learned(
    measured: Measured, others: Sequence[str], claim: str, values_of: Callable[[Sequence[Run]], list[float]]
) -> list[str]:
    """A claim on a metric of representations, with datasets in place of tasks."""

    def scores(method: str, datasets: Sequence[str]) -> np.ndarray | None:
        columns = [values_of(measured.runs.get((dataset, method), ())) for dataset in datasets]
        fewest = min((len(column) for column in columns), default=0)
        return np.asarray([column[:fewest] for column in columns]).T if fewest else None

    datasets = [
        dataset
        for dataset in measured.datasets
        if all(values_of(measured.runs.get((dataset, method), ())) for method in (SPC, *others))
    ]
    first = scores(SPC, datasets)
    return _row(
        measured, claim, {other: improves(first, scores(other, datasets)) for other in others}, datasets
    )


def _disentanglement(name: str, runs: Sequence[Run]) -> list[float]:
    return disentanglement(runs).get(name, [])


def _row(
    measured: Measured, claim: str, intervals: Mapping[str, Interval | None], datasets: Sequence[str]
) -> list[str]:
    listed = ", ".join(
        f"{name} {shown(interval, 2).replace('-', ABSENT)}" for name, interval in intervals.items()
    )
    count = f"{len(datasets)} dataset{'' if len(datasets) == 1 else 's'}" if datasets else ABSENT
    here = mark(measured, keys_of(datasets, SPC, *intervals), f"**{verdict(intervals)}**")
    return [claim, listed, count, here]
