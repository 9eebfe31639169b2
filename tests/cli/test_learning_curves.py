"""From ``clwm train --eval-every`` to the learning curves of ``clwm report``, in real subprocesses."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from tests.cli.conftest import SMALL_OPTIONS
from tests.conftest import Clwm


def test_a_report_shows_the_evaluations_while_training(clwm: Clwm, store_path: Path, tmp_path: Path) -> None:
    options = ("--eval-every", "3", "--set", "evaluation.episodes=1", *SMALL_OPTIONS)
    for seed, extra in ((0, options), (1, options), (2, SMALL_OPTIONS)):
        done = clwm("train", store_path, "--seed", str(seed), "--out", f"runs/s{seed}", *extra)
        assert done.returncode == 0, done.stderr
    logged = [
        {row["step"]: row for row in rows if "eval/few-shot/id/return" in row}
        for rows in (
            [json.loads(line) for line in (tmp_path / f"runs/s{seed}/metrics.jsonl").read_text().splitlines()]
            for seed in (0, 1)
        )
    ]
    assert [list(rows) for rows in logged] == [[3, 6], [3, 6]]
    done = clwm("report", "runs/s0", "runs/s1", "--out", "evaluated.html")
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "evaluated.html").read_text()
    assert "return against updates" in page
    assert "return against minutes" in page
    with next(tmp_path.rglob("learning-time.csv")).open() as stream:
        points = list(csv.DictReader(stream))
    assert [(point["split"], int(point["updates"])) for point in points] == [("id", 3), ("id", 6)]
    for point in points:
        rows = [seed[int(point["updates"])] for seed in logged]
        for column, key in (("return", "eval/few-shot/id/return"), ("seconds", "seconds")):
            assert float(point[column]) == pytest.approx(sum(row[key] for row in rows) / 2, rel=1e-6)
    # One that was not evaluated while training is the same method all the same.
    done = clwm("report", "runs/s0", "runs/s1", "runs/s2", "--out", "all.html")
    assert done.returncode == 0, done.stderr
