"""``clwm list`` and ``clwm env``."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from tests.conftest import Clwm


def test_stores_and_runs_are_listed_with_their_state(clwm: Clwm, collected: Path, tmp_path: Path) -> None:
    assert "clwm collect MANIFEST" in clwm("list").stdout
    for name in ("whole", "cut", "short", "strange"):
        shutil.copytree(collected, tmp_path / f"data/{name}.zarr")
    shutil.rmtree(tmp_path / "data/cut.zarr/tasks/0006/reward")
    (tmp_path / "data/short.zarr/zarr.json").write_text("{")
    root = tmp_path / "data/strange.zarr/zarr.json"
    root.write_text(root.read_text().replace('"split": "id"', '"split": "di"'))
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
    assert "attribute split" in states["strange"]
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


def test_renamed_folders_of_tasks_are_told_alike(clwm: Clwm, store_path: Path) -> None:
    """By all that judge a store without reading its data, and by what reads it."""
    tasks, data = store_path / "tasks", store_path.parent / "data"
    (tasks / "0006").rename(tasks / "0007")
    shutil.copytree(tasks / "0000", tasks / "0000 copy")
    found = clwm("validate", store_path).stdout.splitlines()
    assert sorted(line.removeprefix(f"{tasks}/") for line in found) == [
        "0000 copy: is a copy of task 0, and not a part of the store: remove it",
        "0006: is missing",
        "0007: is task 6 by another name: rename it 0006",
    ]
    warning = "damaged: task 6 lacks its folder 0006"
    assert f"  warning:    {warning}: `clwm validate`" in clwm("info", store_path).stdout
    data.mkdir()
    store_path.rename(data / "tiny.zarr")
    assert json.loads(clwm("list", "--json").stdout)["stores"][0]["state"] == warning

    tasks = data / "tiny.zarr/tasks"
    shutil.rmtree(tasks / "0000 copy")
    (tasks / "0007").rename(tasks / "0006")
    assert clwm("validate", "tiny").returncode == 0
    assert "damaged" not in clwm("info", "tiny").stdout
    for old, new in (("0006", "x"), ("0012", "0006"), ("x", "0012")):
        (tasks / old).rename(tasks / new)
    (warning,) = (line for line in clwm("info", "tiny").stdout.splitlines() if "damaged" in line)
    assert "task 6 has a zarr.json that is not the one in the root's index, task 12 too" in warning


def test_what_to_paste_into_a_bug_report(clwm: Clwm) -> None:
    report = json.loads(clwm("env", "--json").stdout)
    assert report["packages"]["clwm"]
    assert report["machine"]["processors"] >= 1
    text = clwm("env").stdout
    assert f"clwm               {report['packages']['clwm']}" in text
