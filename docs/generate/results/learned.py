"""What the context encoders of some runs have learned: values of all their seeds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from clwm_train.analysis.findings import SeedAnalysis
from clwm_train.analysis.results import read_analysis
from clwm_train.report.learned import DISENTANGLEMENT
from clwm_train.runs.metrics_log import read_metrics
from clwm_train.runs.run import METRICS, Run


def final_representation(runs: Sequence[Run], name: str) -> list[float]:
    """A metric of the context encoder at the last logged update, for each seed."""
    values = []
    for run in runs:
        last: dict[int, float] = {}
        file = run.path / METRICS
        for row in read_metrics(file, run.record.seeds) if file.is_file() else ():
            if f"context_encoder/{name}" in row:
                last[row["seed"]] = row[f"context_encoder/{name}"]
        values += [last[seed] for seed in sorted(last)]
    return values


def disentanglement(runs: Sequence[Run]) -> dict[str, list[float]]:
    """Metric of disentanglement -> value of each seed; empty for families without factors."""
    values: dict[str, list[float]] = {}
    for seed in _seeds(runs):
        for name in DISENTANGLEMENT:
            value = None if seed.disentanglement is None else getattr(seed.disentanglement, name)
            if value is not None:
                values.setdefault(name, []).append(value)
    return values


def probe(runs: Sequence[Run], split: str) -> list[float]:
    """R² of the linear probe on a split, mean over task parameters, for each seed."""
    probes = [(seed.probe or {}).get(split) for seed in _seeds(runs)]
    return [float(np.mean(list(one.values()))) for one in probes if one]


def _seeds(runs: Sequence[Run]) -> list[SeedAnalysis]:
    analyses = [analysis for run in runs for analysis in [read_analysis(run)] if analysis is not None]
    return [seed for analysis in analyses for seed in analysis.seeds]
