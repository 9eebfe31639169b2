"""``clwm list`` and ``clwm env``."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from tests.conftest import Clwm


def test_stores_and_runs_are_listed_with_their_state(clwm: Clwm, collected: Path, tmp_path: Path) -> None:
    assert "clwm collect MANIFEST" in clwm("list").stdout
    for name in ("whole", "cut", "short"):
        shutil.copytree(collected, tmp_path / f"data/{name}.zarr")
    shutil.rmtree(tmp_path / "data/cut.zarr/tasks/0006/reward")
    (tmp_path / "data/short.zarr/zarr.json").write_text("{")
    trained = clwm("train", "data/whole.zarr", "--preset", "tiny", "--steps", 5, "--out", "runs/sweep/a")
    assert trained.returncode == 0, trained.stderr
    evaluated = clwm("eval", "runs/sweep/a", "--episodes", 1)
    assert evaluated.returncode == 0, evaluated.stderr
    listed = json.loads(clwm("list", "--json").stdout)
    states = {Path(store["store"]).stem: store["state"] for store in listed["stores"]}
    whole = next(store for store in listed["stores"] if Path(store["store"]).stem == "whole")
    assert whole["size"] == json.loads(clwm("info", "whole", "--json").stdout)["bytes"]
    assert states["whole"] == "complete"
    assert states["cut"].startswith("damaged: task 6 lacks reward/")
    assert "zarr.json" in states["short"]
    (run,) = listed["runs"]
    assert (run["run"], run["updates"], run["state"]) == ("runs/sweep/a", 5, "trained")
    assert run["few-shot id"].endswith(" normalised")
    (tmp_path / "runs/lost/checkpoints").mkdir(parents=True)
    (tmp_path / "runs/lost/config.yaml").write_text("steps: 5")
    lost, _ = json.loads(clwm("list", "--json").stdout)["runs"]
    assert "has lost its run.yaml" in lost["state"]
    table = clwm("list").stdout
    assert "whole.zarr" in table
    assert "runs/sweep/a" in table


def test_what_to_paste_into_a_bug_report(clwm: Clwm) -> None:
    report = json.loads(clwm("env", "--json").stdout)
    assert report["packages"]["clwm"]
    assert report["machine"]["processors"] >= 1
    text = clwm("env").stdout
    assert f"clwm               {report['packages']['clwm']}" in text
