"""Figures 2 to 4: representations over training, disentanglement, formulations of the world model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from clwm_train.analyse.results import SeedAnalysis, read_analysis
from clwm_train.metrics.aggregate import Interval
from clwm_train.report.figure import Figure, bars, colours, curve, legend, name_row, panels, present, spread
from clwm_train.runs.metrics_log import read_metrics
from clwm_train.runs.run import METRICS, Run

REPRESENTATION = {
    "feature_rank": "Feature rank (share)",
    "matrix_rank": "Matrix rank",
    "dormant_ratio": "Dormant neurons (share)",
}
DISENTANGLEMENT = {
    "disentanglement": "DCI\ndisentanglement",
    "completeness": "DCI\ncompleteness",
    "informativeness": "DCI\ninformativeness",
    "modularity": "InfoMEC\nmodularity",
    "compactness": "InfoMEC\ncompactness",
    "explicitness": "InfoMEC\nexplicitness",
}
PREDICTED = {"code": "Latent code", "reward": "Reward"}

#: (dataset, method) -> its runs.
Groups = dict[tuple[str, str], list[Run]]
#: (dataset, metric) -> method -> value.
Panels = dict[tuple[str, str], dict[str, Interval]]
#: (dataset, method) -> metric -> step -> values of all seeds.
Curves = dict[tuple[str, str], dict[str, dict[int, Sequence[float]]]]


def group_runs(runs: Sequence[Run]) -> Groups:
    """Runs of the same method on the same dataset."""
    groups: Groups = {}
    for run in runs:
        groups.setdefault((run.record.store_name, run.label), []).append(run)
    return groups


def representation_figure(groups: Groups, methods: Sequence[str]) -> Figure | None:
    """Figure 2: ranks and dormant neurons of the context encoder over training."""
    curves = {key: of for key, of in ((key, _logged(runs)) for key, runs in groups.items()) if of}
    if not curves:
        return None
    return Figure(
        "representation",
        "Representations over training",
        "Last hidden layer of the context encoder (ranks) and all of its hidden layers (dormant neurons), on "
        "the same contexts throughout: mean and range over seeds.",
        _lines(curves, REPRESENTATION, methods, "updates"),
        ("dataset", "method", "metric", "step", "mean", "low", "high"),
        _line_rows(curves),
    )


def disentanglement_figure(groups: Groups, methods: Sequence[str]) -> Figure | None:
    """Figure 3: DCI and InfoMEC, for families with factors."""
    found: Panels = {}
    for (dataset, method), runs in groups.items():
        scored = [of.disentanglement for of in _analyses(runs) if of.disentanglement is not None]
        for name in DISENTANGLEMENT:
            values = [value for value in (getattr(of, name) for of in scored) if value is not None]
            if values:
                found.setdefault((dataset, name), {})[method] = spread(values)
    if not found:
        return None
    return Figure(
        "disentanglement",
        "Disentanglement",
        "How far single entries of z stand for single factors of the tasks (families of length and speed), "
        "scored on the unseen id tasks: mean and range over seeds.",
        _grid(found, DISENTANGLEMENT, methods),
        ("dataset", "metric", "method", "mean", "low", "high"),
        _rows(found),
    )


def probe_figure(groups: Groups, methods: Sequence[str]) -> Figure | None:
    """How much of the task parameters is linear in z."""
    found: Panels = {}
    for (dataset, method), runs in groups.items():
        for split in ("id", "ood"):
            probes = [(of.probe or {}).get(split) for of in _analyses(runs)]
            values = [float(np.mean(list(of.values()))) for of in probes if of]
            if values:
                found.setdefault((dataset, split), {})[method] = spread(values)
    if not found:
        return None
    return Figure(
        "probe",
        "Linear probe",
        "R\u00b2 of the affine map from z to the task parameters, fitted to the train tasks, on the unseen "
        "ones: mean over parameters; mean and range over seeds. 0: no better than the mean; what is below -1 "
        "lies beyond the edge.",
        _grid(found, {"id": "R\u00b2, id tasks", "ood": "R\u00b2, ood tasks"}, methods),
        ("dataset", "split", "method", "mean", "low", "high"),
        _rows(found),
    )


def _rows(found: Panels) -> list[tuple[object, ...]]:
    return [
        (dataset, name, method, value.point, value.low, value.high)
        for (dataset, name), of in found.items()
        for method, value in of.items()
    ]


def _grid(found: Panels, titles: Mapping[str, str], methods: Sequence[str]) -> Any:
    """A row per dataset, a column per metric, values up to 1."""
    colour = colours(methods)
    datasets = list(dict.fromkeys(dataset for dataset, _ in found))
    names = [name for name in titles if any((dataset, name) in found for dataset in datasets)]
    shown = present(methods, found.values())
    size = (1.8 + max(1.42 * len(names), 3.4), 0.8 + len(datasets) * (0.4 + 0.29 * len(shown)))
    with panels(len(datasets), len(names), size, sharex="col") as (figure, axes):
        for dataset, line in zip(datasets, axes, strict=True):
            for axis, name in zip(line, names, strict=True):
                of = found.get((dataset, name), {})
                bars(axis, [(method, of.get(method)) for method in shown], colour, names=axis is line[0])
                axis.locator_params(axis="x", nbins=3)
            name_row(line[0], dataset)
        for axis, name in zip(axes[0], names, strict=True):
            ends = [
                v.point if v.low is None else v.low
                for key, of in found.items()
                if key[1] == name
                for v in of.values()
            ]
            axis.set_xlim(max(-1.05, min(-0.04, *ends) - 0.04), 1.04)
            axis.set_title(titles[name], fontsize=9)
    return figure


def open_loop_figure(groups: Groups, methods: Sequence[str]) -> Figure | None:
    """Figure 4, beside the returns: errors of the formulations of the world model over the horizon."""
    curves: Curves = {}
    for key, runs in groups.items():
        errors = [of.open_loop["id"] for of in _analyses(runs) if of.open_loop and "id" in of.open_loop]
        if errors:
            curves[key] = {
                # As far as all seeds were rolled out.
                name: dict(enumerate(zip(*(getattr(of, name) for of in errors), strict=False), 1))
                for name in PREDICTED
            }
    if not curves:
        return None
    return Figure(
        "open-loop",
        "Open-loop prediction",
        "Squared error of the world model after so many steps of stored actions on the unseen id tasks, over "
        "the variance of what is predicted (1: no better than the mean): mean and range over seeds. What is "
        "above 2 lies beyond the edge. Codes of different latent spaces are different things to predict; "
        "rewards are the same.",
        _lines(curves, PREDICTED, methods, "steps ahead", highest=2.0),
        ("dataset", "method", "metric", "step", "mean", "low", "high"),
        _line_rows(curves),
    )


def _lines(
    curves: Curves, titles: Mapping[str, str], methods: Sequence[str], along: str, highest: float = np.inf
) -> Any:
    """A row per dataset, a column per metric, a line per method from 0 to at most ``highest``."""
    colour = colours(methods)
    datasets = list(dict.fromkeys(dataset for dataset, _ in curves))
    size = (1.5 + 2.9 * len(titles), 0.5 + 2.25 * len(datasets))
    with panels(len(datasets), len(titles), size, sharex="row") as (figure, axes):
        for (dataset, method), of in curves.items():
            for axis, name in zip(axes[datasets.index(dataset)], titles, strict=True):
                values = of.get(name, {})
                curve(axis, list(values), [spread(found) for found in values.values()], colour[method])
        for axis in axes.flat:
            axis.margins(y=0.08)
            axis.set_ylim(0.0, min(axis.get_ylim()[1], highest))
            axis.locator_params(axis="x", integer=True, nbins=5)
        for dataset, line in zip(datasets, axes, strict=True):
            name_row(line[0], dataset)
        for axis, title in zip(axes[0], titles.values(), strict=True):
            axis.set_title(title)
        for axis in axes[-1]:
            axis.set_xlabel(along)
        legend(figure, present(methods, [{method for _, method in curves}]), colour)
    return figure


def _line_rows(curves: Curves) -> list[tuple[object, ...]]:
    return [
        (dataset, method, name, step, value.point, value.low, value.high)
        for (dataset, method), of in curves.items()
        for name, values in of.items()
        for step, value in ((step, spread(found)) for step, found in values.items())
    ]


def _analyses(runs: Sequence[Run]) -> list[SeedAnalysis]:
    return [
        of
        for run in runs
        for analysis in [read_analysis(run)]
        if analysis is not None
        for of in analysis.seeds
    ]


def _logged(runs: Sequence[Run]) -> dict[str, dict[int, Sequence[float]]]:
    """metric -> update -> values of all seeds, of what was logged while training."""
    found: dict[str, dict[int, list[float]]] = {}
    for run in runs:
        if not (run.path / METRICS).is_file():
            continue
        for row in read_metrics(run.path / METRICS):
            for name in REPRESENTATION:
                value = row.get(f"context_encoder/{name}")
                if value is not None:
                    found.setdefault(name, {}).setdefault(row["step"], []).append(value)
    return {name: dict(sorted(of.items())) for name, of in found.items()}
