"""``clwm sweep``: budgets, and several commands that share a folder."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from clwm_data.collection.collector import collect
from clwm_train.runs.run import open_run
from clwm_train.sweep import budget
from clwm_train.sweep.budget import Timing, read_timing
from tests.cli.test_sweep import SETTINGS
from tests.conftest import tiny_manifest

Call = Callable[..., tuple[int, str, str]]

SHORT: dict[str, Any] = {
    "name": "tiny",
    "stores": ["six.zarr"],
    "seeds": [0, 1],
    "preset": "tiny",
    "budget": {"updates": 4},
    "set": {**SETTINGS, "log_every": 2, "checkpoint_every": 2},
    "methods": {"focal-ln": None, "no-context": None},
    "evaluation": {"episodes": 1, "context_size": 20},
    "analysis": None,
}


@pytest.fixture
def folder(six: Path, tmp_path: Path) -> Path:
    shutil.copytree(six, tmp_path / "six.zarr")
    return tmp_path


def write(folder: Path, **change: Any) -> None:
    (folder / "tiny.yaml").write_text(yaml.safe_dump({**SHORT, **change}, sort_keys=False))


def results(folder: Path) -> list[dict[str, str]]:
    with (folder / "runs/tiny/results.csv").open() as stream:
        return list(csv.DictReader(stream))


def test_minutes_are_timed_once(folder: Path, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """All seeds of a method have the updates that the first timing gave, also on a machine that is slower."""
    write(folder, budget={"minutes": 0.001}, stacked=False, methods={"focal-ln": None})
    timed: list[int] = []

    def two_hundredths(*arguments: Any) -> float:
        timed.append(1)
        return 0.02 if len(timed) == 1 else 7.0

    monkeypatch.setattr(budget, "seconds_per_update", two_hundredths)
    code, out, err = call("sweep", "tiny.yaml", "--minutes", "1e-9")
    assert (code, out, timed) == (130, "", [])
    code, out, err = call("sweep", "tiny.yaml")
    assert code == 0, err
    assert timed == [1]
    for seed in (0, 1):
        assert open_run(folder / f"runs/tiny/six-focal-ln-s{seed}").config.steps == 3  # 0.06 s / 0.02 s
    shutil.rmtree(folder / "runs/tiny/six-focal-ln-s1")
    assert call("sweep", "tiny.yaml")[0] == 0
    assert timed == [1]
    timing = read_timing(folder / "runs/tiny/six-focal-ln.timing.yaml")
    assert timing is not None
    assert (timing.seconds_per_update, timing.seeds, timing.device) == (0.02, 1, "cpu")
    # Without the timing nothing says what the experiment asks for; with other minutes it asks for another.
    (folder / "runs/tiny/six-focal-ln.timing.yaml").rename(folder / "away.yaml")
    code, out, err = call("sweep", "tiny.yaml")
    assert code == 1
    assert "six-focal-ln.timing.yaml: is gone" in out
    (folder / "away.yaml").rename(folder / "runs/tiny/six-focal-ln.timing.yaml")
    write(folder, budget={"minutes": 0.002}, stacked=False, methods={"focal-ln": None})
    code, out, err = call("sweep", "tiny.yaml")
    assert code == 1
    assert "was begun with another configuration" in out


def test_a_real_timing(folder: Path, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    from clwm_train.training import timing

    monkeypatch.setattr(timing, "PART_SECONDS", 0.01)
    write(
        folder,
        budget={"minutes": 0.0001},
        methods={"focal-ln": None, "fixed": {"method": "bc", "budget": {"updates": 5}}},
    )
    code, _, err = call("sweep", "tiny.yaml", "--jobs", "1")
    assert code == 0, err
    kept = read_timing(folder / "runs/tiny/six-focal-ln.timing.yaml")
    assert kept is not None
    assert 1e-5 < kept.seconds_per_update < 1.0
    expected = max(1, round(0.006 * 2 / kept.seconds_per_update))  # 2 seeds in one run
    assert open_run(folder / "runs/tiny/six-focal-ln-s0-1").config.steps == expected
    assert open_run(folder / "runs/tiny/six-fixed-s0-1").config.steps == 5
    assert not (folder / "runs/tiny/six-fixed.timing.yaml").exists()


def test_minutes_are_for_each_seed() -> None:
    timing = Timing(
        seconds_per_update=0.5, seeds=3, device="cpu", compiled=False, platform="x", created="now"
    )
    assert timing.updates(2.0) == 2 * 60 * 3 * 2
    assert timing.updates(1e-9) == 1


def test_transitions_and_processor_time_are_columns(folder: Path, call: Call) -> None:
    write(folder, methods={"focal-ln": None, "no-context": {"set": {"batch.horizon": 1}}})
    code, _, err = call("sweep", "tiny.yaml")
    assert code == 0, err
    rows = {row["method"]: row for row in results(folder)}
    windows = SETTINGS["batch.tasks"] * SETTINGS["batch.windows"]
    assert int(rows["focal-ln"]["transitions_per_update"]) == windows * SETTINGS["batch.horizon"]
    assert int(rows["no-context"]["transitions_per_update"]) == windows
    for method in ("focal-ln", "no-context"):
        run = folder / f"runs/tiny/six-{method}-s0-1"
        last = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()][-1]
        spent = float(rows[method]["processor_seconds_per_seed"])
        assert spent == pytest.approx(last["processor_seconds"] / 2)
        assert spent > 0.0
    assert "transitions per update differ by more than 10 %" in err
    code, _, err = call("report", "runs/tiny")
    assert code == 0, err
    assert "transitions per update differ by more than 10 %" in err


def test_commands_on_parts_share_a_folder(folder: Path, call: Call) -> None:
    """Each needs only its own data; the table at the end has what all of them found."""
    write(folder, stores=["six.zarr", "other.zarr"])
    code, out, err = call("sweep", "tiny.yaml", "--store", "six.zarr", "--method", "no-context")
    assert code == 0, err
    assert out.splitlines()[0] == "[1/1] six-no-context-s0-1: done"
    collect(tiny_manifest(tasks=(0, 1, 6, 7, 12, 13), name="other"), folder / "other.zarr")
    code, out, err = call("sweep", "tiny.yaml", "--store", "other.zarr", "--jobs", "2", "--device", "cpu")
    assert code == 0, err
    assert "[2/2]" in out
    assert {(row["dataset"], row["method"]) for row in results(folder)} == {
        ("six", "no-context"),
        ("other", "focal-ln"),
        ("other", "no-context"),
    }
    status = call("sweep", "tiny.yaml", "--status")[1].splitlines()
    assert [line.partition(": ")[2] for line in status] == ["waiting", "done", "done", "done"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--store", "six.zar"), "tiny: has no store 'six.zar': did you mean six.zarr?"),
        (("--method", "focal-lnn"), "tiny: has no method 'focal-lnn': did you mean focal-ln?"),
        (("--method", "spc"), "tiny: has no method 'spc': it has focal-ln, no-context"),
    ],
)
def test_a_part_that_is_not_there(folder: Path, call: Call, arguments: tuple[str, ...], message: str) -> None:
    write(folder)
    code, _, err = call("sweep", "tiny.yaml", *arguments)
    assert code == 1
    assert message in err
    assert not (folder / "runs").exists()
