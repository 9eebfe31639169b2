"""The experiments that clwm brings."""

from __future__ import annotations

from pathlib import Path

import pytest

from clwm_train.methods.resolve import resolve
from clwm_train.sweep import list_jobs, read_experiment
from tests.conftest import ROOT


@pytest.mark.parametrize("path", sorted((ROOT / "experiments").glob("*.yaml")), ids=lambda path: path.stem)
def test_experiments_of_the_repository(path: Path) -> None:
    experiment = read_experiment(path)
    assert experiment.name == path.stem
    jobs = list_jobs(experiment, {store: Path(f"{store}.zarr") for store in experiment.stores}, Path("runs"))
    assert len({job.run for job in jobs}) == len(jobs) > 0
    for job in jobs:
        resolve(job.method, job.preset, job.overrides)
