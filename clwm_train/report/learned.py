"""Figures 2 to 4: representations over training, disentanglement, formulations of the world model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from clwm_train.metrics.aggregate import Interval
from clwm_train.metrics.analysis import SeedAnalysis, read_analysis
from clwm_train.metrics_log import read_metrics
from clwm_train.report.figure import Figure, bars, colours, drawing_style, legend, spread
from clwm_train.run import METRICS, Run

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

#: (dataset, method) -> its runs.
Groups = dict[tuple[str, str], list[Run]]
#: (dataset, metric) -> method -> value.
Panels = dict[tuple[str, str], dict[str, Interval]]


def group_runs(runs: Sequence[Run]) -> Groups:
    """Runs of the same method on the same dataset."""
    groups: Groups = {}
    for run in runs:
        groups.setdefault((run.record.store_name, run.label), []).append(run)
    return groups


def representation_figure(groups: Groups, methods: Sequence[str]) -> Figure | None:
    """Figure 2: ranks and dormant neurons of the context encoder over training."""
    curves = {key: _curves(of) for key, of in groups.items()}
    curves = {key: of for key, of in curves.items() if of}
    datasets = list(dict.fromkeys(dataset for dataset, _ in curves))
    if not datasets:
        return None
    colour, rows = colours(methods), []
    with drawing_style() as plt:
        figure, axes = plt.subplots(
            len(datasets),
            3,
            figsize=(10.2, 0.5 + 2.2 * len(datasets)),
            squeeze=False,
            sharex="row",
            layout="constrained",
        )
        for (dataset, method), of in curves.items():
            line = axes[datasets.index(dataset)]
            for axis, name in zip(line, REPRESENTATION, strict=True):
                steps = sorted(of[name])
                values = [spread(of[name][step]) for step in steps]
                axis.plot(steps, [value.point for value in values], color=colour[method], lw=1.6)
                if all(value.low is not None for value in values):
                    low, high = [value.low for value in values], [value.high for value in values]
                    axis.fill_between(steps, low, high, color=colour[method], alpha=0.18, lw=0)
                rows += [
                    (dataset, method, name, step, value.point, value.low, value.high)
                    for step, value in zip(steps, values, strict=True)
                ]
        for dataset, line in zip(datasets, axes, strict=True):
            line[0].set_ylabel(dataset)
            for axis in line:
                axis.set_ylim(bottom=0.0)
                axis.margins(y=0.08)
                axis.locator_params(axis="x", nbins=5)
        for axis, title in zip(axes[0], REPRESENTATION.values(), strict=True):
            axis.set_title(title)
        for axis in axes[-1]:
            axis.set_xlabel("updates")
        legend(figure, [method for method in methods if any(method == key[1] for key in curves)], colour)
    return Figure(
        "representation",
        "Representations over training",
        "Last hidden layer of the context encoder (ranks) and all of its hidden layers (dormant neurons), on "
        "the same contexts throughout: mean and range over seeds.",
        figure,
        ("dataset", "method", "metric", "step", "mean", "low", "high"),
        rows,
    )


def disentanglement_figure(groups: Groups, methods: Sequence[str]) -> Figure | None:
    """Figure 3: DCI and InfoMEC, for families with factors."""
    panels: Panels = {}
    for (dataset, method), runs in groups.items():
        scored = [of.disentanglement for of in _analyses(runs) if of.disentanglement is not None]
        for name in DISENTANGLEMENT:
            values = [value for value in (getattr(of, name) for of in scored) if value is not None]
            if values:
                panels.setdefault((dataset, name), {})[method] = spread(values)
    if not panels:
        return None
    return Figure(
        "disentanglement",
        "Disentanglement",
        "How far single entries of z stand for single factors of the tasks (families of length and speed), "
        "scored on the unseen id tasks: mean and range over seeds.",
        _grid(panels, DISENTANGLEMENT, methods),
        ("dataset", "metric", "method", "mean", "low", "high"),
        _rows(panels),
    )


def probe_figure(groups: Groups, methods: Sequence[str]) -> Figure | None:
    """How much of the task parameters is linear in z."""
    panels: Panels = {}
    for (dataset, method), runs in groups.items():
        for split in ("id", "ood"):
            probes = [(of.probe or {}).get(split) for of in _analyses(runs)]
            values = [float(np.mean(list(of.values()))) for of in probes if of]
            if values:
                panels.setdefault((dataset, split), {})[method] = spread(values)
    if not panels:
        return None
    return Figure(
        "probe",
        "Linear probe",
        "R\u00b2 of the affine map from z to the task parameters, fitted to the train tasks, on the unseen "
        "ones: mean over parameters; mean and range over seeds. 0: no better than the mean; what is below -1 "
        "lies beyond the edge.",
        _grid(panels, {"id": "R\u00b2, id tasks", "ood": "R\u00b2, ood tasks"}, methods),
        ("dataset", "split", "method", "mean", "low", "high"),
        _rows(panels),
    )


def _rows(panels: Panels) -> list[tuple[object, ...]]:
    return [
        (dataset, name, method, value.point, value.low, value.high)
        for (dataset, name), of in panels.items()
        for method, value in of.items()
    ]


def _grid(panels: Panels, titles: Mapping[str, str], methods: Sequence[str]) -> Any:
    """A row per dataset, a column per metric, values up to 1."""
    colour = colours(methods)
    datasets = list(dict.fromkeys(dataset for dataset, _ in panels))
    names = [name for name in titles if any((dataset, name) in panels for dataset in datasets)]
    shown = [method for method in methods if any(method in of for of in panels.values())]
    with drawing_style() as plt:
        figure, axes = plt.subplots(
            len(datasets),
            len(names),
            figsize=(1.8 + max(1.42 * len(names), 3.4), 0.8 + len(datasets) * (0.4 + 0.29 * len(shown))),
            squeeze=False,
            sharex="col",
            layout="constrained",
        )
        for dataset, line in zip(datasets, axes, strict=True):
            for axis, name in zip(line, names, strict=True):
                of = panels.get((dataset, name), {})
                bars(axis, [(method, of.get(method)) for method in shown], colour, names=axis is line[0])
                axis.locator_params(axis="x", nbins=3)
            line[0].set_ylabel(dataset)
        for axis, name in zip(axes[0], names, strict=True):
            ends = [
                v.point if v.low is None else v.low
                for key, of in panels.items()
                if key[1] == name
                for v in of.values()
            ]
            axis.set_xlim(max(-1.05, min(-0.04, *ends) - 0.04), 1.04)
            axis.set_title(titles[name], fontsize=9)
    return figure


def open_loop_figure(groups: Groups, methods: Sequence[str]) -> Figure | None:
    """Figure 4, beside the returns: errors of the formulations of the world model over the horizon."""
    curves: dict[tuple[str, str], list[SeedAnalysis]] = {}
    for key, runs in groups.items():
        seeds = [of for of in _analyses(runs) if of.open_loop and "id" in of.open_loop]
        if seeds:
            curves[key] = seeds
    datasets = list(dict.fromkeys(dataset for dataset, _ in curves))
    if not datasets:
        return None
    colour, rows = colours(methods), []
    with drawing_style() as plt:
        figure, axes = plt.subplots(
            len(datasets),
            2,
            figsize=(8.4, 0.5 + 2.3 * len(datasets)),
            squeeze=False,
            sharex="row",
            layout="constrained",
        )
        for (dataset, method), seeds in curves.items():
            for axis, name in zip(axes[datasets.index(dataset)], ("code", "reward"), strict=True):
                shortest = min(len(getattr((of.open_loop or {})["id"], name)) for of in seeds)
                values = np.asarray([getattr((of.open_loop or {})["id"], name)[:shortest] for of in seeds])
                steps = np.arange(1, shortest + 1)
                axis.plot(steps, values.mean(0), color=colour[method], lw=1.6)
                if len(values) > 1:
                    axis.fill_between(
                        steps, values.min(0), values.max(0), color=colour[method], alpha=0.18, lw=0
                    )
                rows += [
                    (dataset, method, name, step, column.mean(), column.min(), column.max())
                    for step, column in zip(steps.tolist(), values.T, strict=True)
                ]
        for dataset, line in zip(datasets, axes, strict=True):
            line[0].set_ylabel(dataset)
            for axis in line:
                axis.set_ylim(0.0, min(axis.get_ylim()[1], 2.0))
                axis.locator_params(axis="x", integer=True, nbins=6)
        for axis, title in zip(axes[0], ("Latent code", "Reward"), strict=True):
            axis.set_title(title)
        for axis in axes[-1]:
            axis.set_xlabel("steps ahead")
        legend(figure, [method for method in methods if any(method == key[1] for key in curves)], colour)
    return Figure(
        "open-loop",
        "Open-loop prediction",
        "Squared error of the world model after so many steps of stored actions on the unseen id tasks, over "
        "the variance of what is predicted (1: no better than the mean): mean and range over seeds. Codes of "
        "different latent spaces are different things to predict; rewards are the same.",
        figure,
        ("dataset", "method", "of", "step", "mean", "low", "high"),
        rows,
    )


def _analyses(runs: Sequence[Run]) -> list[SeedAnalysis]:
    return [
        of
        for run in runs
        for analysis in [read_analysis(run)]
        if analysis is not None
        for of in analysis.seeds
    ]


def _curves(runs: Sequence[Run]) -> dict[str, dict[int, list[float]]]:
    """metric -> step -> values of all seeds."""
    curves: dict[str, dict[int, list[float]]] = {}
    for run in runs:
        if not (run.path / METRICS).is_file():
            continue
        for row in read_metrics(run.path / METRICS):
            for name in REPRESENTATION:
                value = row.get(f"context_encoder/{name}")
                if value is not None:
                    curves.setdefault(name, {}).setdefault(row["step"], []).append(value)
    return curves
