"""``clwm sweep``: the real command where it is killed, its function elsewhere."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from clwm_cli.main import main

from clwm_data.collection.collector import collect
from clwm_train.evaluation.results import read_evaluations
from clwm_train.runs.metrics_log import THROUGHPUT
from clwm_train.runs.run import open_run
from clwm_train.sweep import engine
from tests.conftest import tiny_manifest
from tests.train.helpers import SMALL

SETTINGS = {
    key: yaml.safe_load(value)
    for key, value in (text.split("=") for text in SMALL)
    if "world_model" not in key and key != "steps"  # the budget's
}
TINY: dict[str, Any] = {
    "name": "tiny",
    "stores": ["six.zarr"],
    "seeds": [0, 1],
    "preset": "tiny",
    "budget": {"updates": 160},
    "set": {**SETTINGS, "log_every": 20, "checkpoint_every": 20},
    "methods": {
        "spc": {"set": {"world_model.latent_dim": 4, "world_model.dynamics_hidden": [8]}},
        "focal": None,
    },
    "evaluation": {"episodes": 1, "context_size": 20},
    "analysis": {"contexts": 3, "context_size": 5, "horizon": 4},
}
SHORT = {**TINY, "budget": {"updates": 4}, "set": {**SETTINGS, "log_every": 2, "checkpoint_every": 2}}

Call = Callable[..., tuple[int, str, str]]

pytest.importorskip("sklearn")


@pytest.fixture
def folder(six: Path, tmp_path: Path) -> Path:
    """With the store and an experiment."""
    shutil.copytree(six, tmp_path / "six.zarr")
    write(tmp_path, TINY)
    return tmp_path


def write(folder: Path, experiment: dict[str, Any]) -> None:
    (folder / "tiny.yaml").write_text(yaml.safe_dump(experiment, sort_keys=False))


@pytest.fixture
def call(folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Call:
    """The command in this process."""
    monkeypatch.chdir(folder)

    def run(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as stopped:
            main(["sweep", "tiny.yaml", *arguments])
        captured = capsys.readouterr()
        return int(stopped.value.code or 0), captured.out, captured.err

    return run


def metrics(run: Path) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in row.items() if key not in THROUGHPUT} for row in rows]


def results_of(folder: Path) -> list[dict[str, str]]:
    """The table of results, without what the machine took for them."""
    with (folder / "results.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    return [{key: value for key, value in row.items() if key != "processor_seconds_per_seed"} for row in rows]


def test_killed_and_called_again_it_ends_as_if_nothing_had_been(folder: Path, call: Call) -> None:
    process = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "from clwm_cli.main import main; main()",
            "sweep",
            "tiny.yaml",
            "--threads",
            "1",
        ],
        cwd=folder,
        stdout=subprocess.PIPE,
    )
    runs = folder / "runs" / "tiny"
    first, second = runs / "six-spc-s0-1", runs / "six-focal-s0-1"
    deadline = time.monotonic() + 120
    while not list(second.glob("checkpoints/step-*")) and time.monotonic() < deadline:
        assert process.poll() is None, "it ended before it could be killed: give it more steps"
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    code, out, _ = call("--status")
    assert code == 0
    lines = out.splitlines()
    assert lines[0] == "[1/2] six-spc-s0-1: done"
    assert lines[1].startswith("[2/2] six-focal-s0-1: trained ")
    assert " of 160 updates" in lines[1]
    before = {path: path.stat().st_mtime_ns for path in first.rglob("*") if path.is_file()}

    code, out, err = call("--threads", "1")
    assert code == 0, err
    assert out.splitlines()[:2] == ["[1/2] six-spc-s0-1: done", "[2/2] six-focal-s0-1: done"]
    assert {path: path.stat().st_mtime_ns for path in first.rglob("*") if path.is_file()} == before

    code, _, err = call("--out", "whole", "--threads", "1")
    assert code == 0, err
    for name in (first.name, second.name):
        assert metrics(runs / name) == metrics(folder / "whole" / name)
        kept = [path.relative_to(runs / name) for path in (runs / name).glob("[ae]*s/*.json")]
        assert {file.parent.name for file in kept} == {"evaluations", "analyses"}
        for file in (*kept, Path("checkpoints/step-000000160/agent.safetensors")):
            assert (runs / name / file).read_bytes() == (folder / "whole" / name / file).read_bytes(), file
    assert results_of(runs) == results_of(folder / "whole")


def test_results(folder: Path, call: Call) -> None:
    write(folder, SHORT)
    code, out, err = call()
    assert code == 0, err
    with (folder / "runs/tiny/results.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 2 * 2 * 3  # methods, protocols, splits
    row = next(
        row for row in rows if (row["method"], row["protocol"], row["split"]) == ("spc", "few-shot", "id")
    )
    (evaluation,) = read_evaluations(open_run(folder / "runs/tiny/six-spc-s0-1"))
    means = [results["few-shot"]["id"].return_mean for results in evaluation.results]
    assert float(row["return"]) == pytest.approx(sum(means) / 2)
    assert float(row["return_low"]) <= float(row["return"]) <= float(row["return_high"])
    assert row["success"] == ""
    assert "few-shot   id" in out
    assert "train" not in out.split("dataset")[1]


def test_it_stops_after_some_minutes_and_goes_on(folder: Path, call: Call) -> None:
    write(folder, SHORT)
    code, out, err = call("--minutes", "1e-9")
    assert code == 130
    assert "2 of 2 runs are left: the same command goes on" in err
    assert out == ""
    assert call()[0] == 0


#: Of a method: what makes it diverge.
WILD = {"set": {"data.reward_scale": 1e30, "iql.learning_rate": 1e30}}


def test_pool_and_runs_that_fail(folder: Path, call: Call) -> None:
    """A run whose folder is taken fails, and one that diverges; the other ends; messages say what to do."""
    methods = {"focal": None, "dora": WILD, "csro": None}
    write(folder, {**SHORT, "seeds": [0], "analysis": None, "stacked": False, "methods": methods})
    taken = folder / "runs/tiny/six-focal-s0"
    taken.mkdir(parents=True)
    (taken / "thesis.tex").write_text("precious")
    code, out, err = call("--jobs", "2")
    assert code == 1
    assert "six-csro-s0: done" in out
    assert "holds thesis.tex but is not a run: move it away" in out
    assert any("six-dora-s0" in line and "not finite" in line for line in out.splitlines())
    assert "2 of 3 runs failed" in err
    assert "Traceback" not in err
    assert (taken / "thesis.tex").read_text() == "precious"


def test_a_run_that_diverges_is_the_failure_of_its_run(folder: Path, call: Call) -> None:
    updates = {"budget": {"updates": 40}, "set": {**SHORT["set"], "checkpoint_every": 1}}
    write(folder, {**SHORT, **updates, "methods": {"focal": WILD, "spc": TINY["methods"]["spc"]}})
    code, out, err = call("--threads", "1")
    assert code == 1
    failed = [line for line in out.splitlines() if "six-focal-s0-1" in line]
    assert len(failed) >= 1
    assert "not finite" in failed[0]
    assert "Traceback" not in err
    assert "six-spc-s0-1: done" in out
    assert len(read_evaluations(open_run(folder / "runs" / "tiny" / "six-spc-s0-1"))) == 1
    _, status, _ = call("--status")
    assert "six-spc-s0-1: done" in status
    assert "six-focal-s0-1: done" not in status


def test_a_process_that_is_killed_is_the_failure_of_its_run(folder: Path) -> None:
    """SIGKILL, as the system does it for want of memory, while two runs are trained at once."""
    write(
        folder,
        {**TINY, "budget": {"updates": 1000}, "analysis": None, "stacked": False, "methods": {"focal": None}},
    )
    command = [sys.executable, "-c", "from clwm_cli.main import main; main()", "sweep", "tiny.yaml"]
    process = subprocess.Popen(
        [*command, "--jobs", "2", "--threads", "1", "--no-compile"],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 120
    while not list(folder.glob("runs/tiny/six-focal-s*/checkpoints/step-*")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    workers = [
        int(child) for child in children if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()
    ]
    assert len(workers) == 2
    os.kill(workers[0], signal.SIGKILL)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 1, err
    lines = out.splitlines()
    assert sum("its process died (killed by SIGKILL; out of memory?)" in line for line in lines) == 1
    assert sum(line.endswith(": done") for line in lines) == 1
    assert "1 of 2 runs failed" in err
    assert "Traceback" not in err


def test_a_run_that_was_trained_further_counts_at_the_experiments_update(folder: Path, call: Call) -> None:
    settings = {**SETTINGS, "log_every": 2, "checkpoint_every": 2, "keep_checkpoints": 1}
    write(folder, {**SHORT, "set": settings, "analysis": None, "methods": {"focal": None}})
    assert call()[0] == 0
    results = results_of(folder / "runs/tiny")
    run = folder / "runs/tiny/six-focal-s0-1"
    for arguments in (
        ("train", "six.zarr", "--out", str(run), "--resume", "--steps", "10"),
        ("eval", str(run), "--episodes", "1", "--context-size", "20"),
        ("eval", str(run), "--episodes", "1", "--context-size", "20", "--noise", "3"),
    ):
        with pytest.raises(SystemExit) as stopped:
            main(list(arguments))
        assert not stopped.value.code
    names = sorted(path.name for path in run.glob("checkpoints/*"))
    assert names == ["step-000000004", "step-000000010"]  # that of the experiment is kept
    assert call()[0] == 0
    assert results_of(folder / "runs/tiny") == results
    # Without it and its evaluation there is nothing to show: refused.
    shutil.rmtree(run / "checkpoints/step-000000004")
    code, out, _ = call()
    assert code == 1
    assert "was trained beyond the experiment's 4 updates, and the checkpoint at that update is gone" in out


def test_a_run_that_fails_by_no_mistake_of_the_users_does_not_end_the_others(
    folder: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(folder, {**SHORT, "analysis": None, "stacked": False, "methods": {"focal": None}})
    run_job = engine.run_job

    def out_of_memory(job: Any, **options: Any) -> None:
        if job.seeds == (0,):
            raise MemoryError("of which there is too little")
        run_job(job, **options)

    monkeypatch.setattr(engine, "run_job", out_of_memory)
    code, out, err = call()
    assert code == 1
    assert "six-focal-s0: MemoryError: of which there is too little" in out
    assert "six-focal-s1: done" in out
    assert "Traceback" in err
    assert "1 of 2 runs failed" in err


def test_ray(folder: Path, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    ray = pytest.importorskip("ray")
    write(folder, {**SHORT, "analysis": None, "methods": {"focal": None}})
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    try:
        if not torch.cuda.is_available():
            code, _, err = call("--engine", "ray", "--device", "cuda")
            assert (code, err.count("\n")) == (1, 1)
            assert "no machine of the Ray cluster has 1 CPU and a GPU" in err
        code, out, err = call("--engine", "ray", "--jobs", "2", "--device", "auto")  # as by default
        assert code == 0, err
        assert "six-focal-s0-1: done" in out
    finally:
        ray.shutdown()


def test_a_folder_that_was_left_half_made_is_made_anew(folder: Path, call: Call) -> None:
    write(folder, {**SHORT, "analysis": None, "methods": {"focal": None}})
    half = folder / "runs/tiny/six-focal-s0-1"
    half.mkdir(parents=True)
    (half / "config.yaml").write_text("steps: 4")
    (half / "run.yaml.77.partial").write_text("")
    assert call()[0] == 0


def test_a_run_of_damaged_metrics_is_left_out_of_the_table(folder: Path, call: Call) -> None:
    """And told, where it ended the command without any table."""
    write(folder, {**SHORT, "seeds": [0], "analysis": None, "methods": {"focal": None, "bc": None}})
    assert call()[0] == 0
    metrics = folder / "runs/tiny/six-focal-s0/metrics.jsonl"
    metrics.write_text(f"[\n{metrics.read_text()}")
    code, _, err = call()
    assert code == 0
    assert f"left out of the table: {metrics.relative_to(folder)}:1: is damaged: delete the line" in err
    assert {row["method"] for row in results_of(folder / "runs/tiny")} == {"bc"}


def test_another_configuration_is_refused(folder: Path, call: Call) -> None:
    write(folder, {**SHORT, "analysis": None, "methods": {"focal": None}})
    assert call()[0] == 0
    other = {"budget": {"updates": 8}, "set": {"batch.tasks": 3}}
    write(folder, {**SHORT, "analysis": None, "methods": {"focal": other, "bc": None}})
    code, out, err = call()
    assert code == 1
    assert re.search(
        r"than the experiment file now says \(batch.tasks \d, not 3; steps 4, not 8\): restore", out
    ), out
    assert "left out of the table: " in err
    assert {row["method"] for row in results_of(folder / "runs/tiny")} == {"bc"}, "of this configuration"


def test_other_data_under_the_same_name_are_refused(folder: Path, call: Call) -> None:
    write(folder, {**SHORT, "analysis": None, "methods": {"focal": None}})
    assert call()[0] == 0
    before = (folder / "runs/tiny/results.csv").read_bytes()
    shutil.rmtree(folder / "six.zarr")
    collect(tiny_manifest(tasks=(0, 1, 6, 7, 12, 13), name="six", seed=1), folder / "six.zarr")
    code, out, _ = call()
    assert code == 1
    assert "began with other data than" in out
    assert (folder / "runs/tiny/results.csv").read_bytes() == before
    write(folder, {**SHORT, "analysis": None, "methods": {"focal": None, "bc": None}})
    _, _, err = call()
    assert "left out of the table: runs/tiny/six-focal-s0-1: began with other data" in err
    assert {row["method"] for row in results_of(folder / "runs/tiny")} == {"bc"}, "no mixture of data"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sedes": [1]}, "unknown key sedes: did you mean seeds?"),
        ({"seeds": [1, 1]}, ": seeds: names 1 twice: keep one"),
        ({"seeds": ["0"]}, "seeds[0]: input should be a valid integer"),
        ({"methods": {}}, "methods: dictionary should have at least 1 item"),
        ({"methods": {"spc": {"presets": "tiny"}}}, "unknown key methods.spc.presets: did you mean preset?"),
        ({"methods": {"../spc": None}}, "methods.../spc"),
        (
            {"methods": {"spc": {"stores": ["x"]}}},
            "methods.spc.stores: x is not one of the experiment's stores",
        ),
        ({"steps": 100}, ": steps: there is no such key: write budget: {updates: ...}"),
        ({"methods": {"spc": {"steps": 1}}}, "methods.spc.steps: there is no such key: write budget"),
        ({"methods": {"spcc": None}}, "no method is called 'spcc': did you mean spc?"),
        ({"budget": {"updates": 4, "minutes": 1.0}}, "budget: give either updates or minutes"),
        ({"budget": {}}, "budget: give either updates or minutes"),
        ({"budget": {"minutes": 0.0}}, "budget.minutes: input should be greater than 0"),
        ({"methods": {"spc": {"budget": {"updates": 0}}}}, "methods.spc.budget.updates"),
        ({"set": {"iql.tau": 1}}, "unknown key iql.tau"),
        ({"stores": ["nowhere"]}, "no store 'nowhere'"),
        ({"evaluation": {"protocols": ["few"]}}, "evaluation.protocols[0]"),
        ({"stores": ["six.zarr", "./six.zarr"]}, "are both called six: rename one"),
    ],
)
def test_mistakes_are_one_line(folder: Path, call: Call, change: dict[str, Any], message: str) -> None:
    write(folder, {**TINY, **change})
    code, out, err = call("--status")
    assert message in (err if code else out), (out, err)
    assert len((err if code else out.splitlines()[0]).strip().splitlines()) == 1
    assert not (folder / "runs").exists()
