from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from clwm_train.report.learned import group_runs
from clwm_train.report.learning import learning_curves, learning_figures
from clwm_train.report.page import write_run_report
from clwm_train.runs.run import METRICS, Run
from tests.train.invented_runs import invent_run


def evaluated(folder: Path, label: str, seeds: tuple[int, ...], *, timed: bool = True) -> Run:
    """A run that was evaluated every 100 updates; seed s returns s + 0.01 * update few-shot on id tasks."""
    run = invent_run(folder, "point-robot", label, 0.8, seeds=seeds, method=label)
    lines = []
    for step in range(50, 401, 50):
        for seed in seeds:
            row: dict[str, float] = {"step": step, "seed": seed, "loss": 1.0}
            if step % 100 == 0:
                row |= {"eval/few-shot/id/return": seed + 0.01 * step, "eval/zero-shot/ood/return": -1.0}
                row |= {"seconds": 0.6 * step} if timed else {}
            lines.append(json.dumps(row))
    (run.path / METRICS).write_text("\n".join(lines) + "\n")
    return run


def test_points_are_means_over_seeds_with_an_interval(tmp_path: Path) -> None:
    run = evaluated(tmp_path, "spc", (0, 1, 2))
    curves = learning_curves([run])
    assert list(curves) == [("few-shot", "id"), ("zero-shot", "ood")]
    line = curves["few-shot", "id"]
    assert [point.step for point in line] == [100, 200, 300, 400]
    assert [point.seconds for point in line] == [60.0, 120.0, 180.0, 240.0]
    np.testing.assert_allclose([point.value.point for point in line], [2.0, 3.0, 4.0, 5.0])
    for point in line:
        # Means of three draws from three seeds: the extreme ones, all the same seed, are 1 in 27 each.
        assert point.value.low == pytest.approx(point.value.point - 1.0)
        assert point.value.high == pytest.approx(point.value.point + 1.0)
    assert curves["zero-shot", "ood"][0].value.low == -1.0


def test_only_updates_that_all_seeds_were_evaluated_at_are_shown(tmp_path: Path) -> None:
    runs = [evaluated(tmp_path / str(seed), "spc", (seed,)) for seed in (0, 1)]
    file = runs[1].path / METRICS
    file.write_text(
        "\n".join(line for line in file.read_text().splitlines() if '"step": 300' not in line) + "\n"
    )
    assert [point.step for point in learning_curves(runs)["few-shot", "id"]] == [100, 200, 400]


def test_the_report_draws_them(tmp_path: Path) -> None:
    runs = [evaluated(tmp_path / "runs", "spc", (0, 1)), evaluated(tmp_path / "runs", "focal", (0, 1))]
    written = {path.name: path for path in write_run_report(runs, tmp_path / "x.html")}
    assert {"learning-updates.svg", "learning-time.svg"} <= set(written)
    assert "return against minutes" in written["x.html"].read_text()
    with written["learning-time.csv"].open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 2 * 2 * 4
    first = rows[0]
    assert (first["method"], first["updates"], first["seconds"]) == ("spc", "100", "60.0")
    assert float(first["return"]) == pytest.approx(1.5)


def test_without_times_there_is_one_figure_and_without_evaluations_none(tmp_path: Path) -> None:
    run = evaluated(tmp_path / "a", "spc", (0,), timed=False)
    figures = learning_figures(group_runs([run]), ["spc"])
    assert [figure.name for figure in figures] == ["learning-updates"]
    assert figures[0].rows[0][-2:] == (None, None)
    bare = invent_run(tmp_path / "b", "point-robot", "spc", 0.8)
    assert learning_figures(group_runs([bare]), ["spc"]) == []
