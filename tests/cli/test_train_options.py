"""``clwm train``: what is checked before anything is written, names, evaluations while training, signals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from clwm_cli.progress import ProgressBar
from safetensors.torch import load_file

from clwm_train.config import TrainConfig
from clwm_train.evaluation.results import read_evaluations
from clwm_train.runs.checkpoint import read_record
from clwm_train.runs.metrics_log import read_metrics
from clwm_train.runs.run import open_run
from tests.cli.conftest import SMALL_OPTIONS, Call


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--device", "nonsense"), "nonsense"),
        (("--set", "iql.hidden=[1000000000,1000000000]"), "GB"),
        (("--set", f"iql.hidden={[8] * 20_000}"), "iql.hidden"),
        (("--seeds", "0-90000"), "more than the 1,000 seeds"),
        (("--set", "data.reward_scale=1e300"), "data.reward_scale"),
        (("--name", "\x1b[31m"), "cannot be called"),
    ],
)
def test_a_failed_start_leaves_nothing(
    call: Call, store_path: Path, tmp_path: Path, options: tuple[str | int, ...], message: str
) -> None:
    before = {path.name for path in tmp_path.iterdir()}
    code, _, err = call("train", store_path, *SMALL_OPTIONS, *options)
    assert code in (1, 2)
    assert message in err
    assert len(err.strip().splitlines()) == 1
    assert {path.name for path in tmp_path.iterdir()} == before


def test_a_damaged_store_or_one_without_train_tasks_leaves_nothing(
    call: Call, store_path: Path, tmp_path: Path
) -> None:
    assert call("select", store_path, "rest.zarr", "--tasks", "0,6")[0] == 0
    chunk = sorted(store_path.glob("tasks/0012/reward/c/**/*"), key=str)[-1:] or sorted(
        path for path in (store_path / "tasks/0012/reward").rglob("*") if path.name != "zarr.json"
    )
    data = bytearray(chunk[0].read_bytes())
    data[len(data) // 2] ^= 1
    chunk[0].write_bytes(data)
    before = {path.name for path in tmp_path.iterdir()}
    for store, message in (("rest.zarr", "no train task"), (store_path, "12")):
        code, _, err = call("train", store, *SMALL_OPTIONS)
        assert code == 1
        assert message in err
        assert {path.name for path in tmp_path.iterdir()} == before


def test_a_name_tells_runs_apart_in_folders_and_labels(call: Call, store_path: Path) -> None:
    options = (*SMALL_OPTIONS[2:], "--steps", 1)
    assert call("train", store_path, "--name", "few windows", *options)[0] == 0
    assert open_run(Path("runs/tiny-few-windows-s0")).label == "few windows"
    code, _, err = call("train", store_path, "--name", "few windows", *options, "--set", "iql.expectile=0.9")
    assert code == 1
    assert "it was begun otherwise (iql.expectile 0.8, not 0.9)" in err
    for value in (0.7, 0.6):
        code, out, _ = call(
            "train", store_path, "--steps", 1, "--set", f"iql.expectile={value}", "--set", "batch.tasks=2"
        )
        assert code == 0
        folder = Path(f"runs/tiny-spc-batch.tasks=2-iql.expectile={value}-s0")
        assert str(folder) in out
        assert open_run(folder).label == f"spc batch.tasks=2 iql.expectile={value}"


def test_show_config_prints_every_key(call: Call, store_path: Path, tmp_path: Path) -> None:
    before = list(tmp_path.iterdir())
    code, out, _ = call("train", "--show-config", "--preset", "small", "--set", "iql.expectile=0.9")
    assert code == 0
    shown = yaml.safe_load(out)
    assert set(shown) == set(TrainConfig.model_fields)
    assert shown["iql"]["expectile"] == 0.9
    assert shown["context"]["next_observation"] == "auto"
    _, out, _ = call("train", store_path, "--show-config")
    assert yaml.safe_load(out)["context"]["next_observation"] is False
    assert list(tmp_path.iterdir()) == before
    assert call("train")[0] == 2


def test_a_run_that_has_more_updates_stays_as_it_is(call: Call, store_path: Path) -> None:
    assert call("train", store_path, "--out", "run", *SMALL_OPTIONS)[0] == 0
    before = Path("run/metrics.jsonl").read_bytes()
    code, out, _ = call("train", store_path, "--out", "run", "--resume", "--steps", 5)
    assert code == 0
    assert "has 8 updates, no more than 5 are asked for" in out
    assert Path("run/metrics.jsonl").read_bytes() == before


def test_seeds_may_be_any_numbers(call: Call, store_path: Path) -> None:
    code, _, err = call("train", store_path, "--seeds", "1000-1001,7", "--steps", 1, *SMALL_OPTIONS[2:])
    assert code == 0, err
    assert [row["seed"] for row in read_metrics(next(Path("runs").iterdir()) / "metrics.jsonl")] == [
        7,
        1000,
        1001,
    ]
    assert {path.name for path in next(Path("runs").iterdir()).glob("tensorboard/*")} == {
        "seed-7",
        "seed-1000",
        "seed-1001",
    }


@pytest.mark.parametrize("resume", [False, True])
def test_a_run_that_was_killed_before_it_was_written_goes_on(
    call: Call, store_path: Path, resume: bool
) -> None:
    Path("run").mkdir()
    Path("run/config.yaml").write_text("steps: 3\n")
    Path("run/run.yaml.0a1b2c3d.partial").touch()
    code, out, err = call("train", store_path, "--out", "run", *SMALL_OPTIONS, *["--resume"] * resume)
    assert code == 0, err
    assert "8 updates done" in out


def test_evaluations_while_training_are_logged_kept_and_change_nothing(call: Call, store_path: Path) -> None:
    evaluated = ("--eval-every", 3, "--set", "evaluation.episodes=1")
    for folder, options in (("plain", ()), ("whole", evaluated), ("parts", (*evaluated, "--steps", 4))):
        code, _, err = call("train", store_path, "--out", folder, *SMALL_OPTIONS, *options)
        assert code == 0, err
    assert call("train", store_path, "--out", "parts", "--resume", "--steps", 8)[0] == 0
    name = "checkpoints/step-000000008"
    plain = load_file(f"plain/{name}/agent.safetensors")
    for folder in ("whole", "parts"):
        tensors = load_file(f"{folder}/{name}/agent.safetensors")
        assert all((tensors[key] == value).all() for key, value in plain.items())

    def evaluations(folder: str) -> list[tuple[int, float]]:
        key = "eval/few-shot/id/return"
        return [(row["step"], row[key]) for row in read_metrics(Path(folder, "metrics.jsonl")) if key in row]

    assert [step for step, _ in evaluations("whole")] == [3, 6]
    assert evaluations("whole") == evaluations("parts")
    for folder in ("whole", "parts"):
        rows = list(read_metrics(Path(folder, "metrics.jsonl")))
        assert [row["step"] for row in rows] == sorted(row["step"] for row in rows)
        seconds = [row["seconds"] for row in rows]
        assert seconds[0] > 0
        assert seconds == sorted(seconds)
    best = max(evaluations("whole"), key=lambda entry: (entry[1], -entry[0]))
    record = read_record(Path("whole/checkpoints/best"))
    assert (record.step, record.score) == (best[0], {"few-shot/id/return": best[1]})
    code, out, err = call(
        "eval", "whole", "--checkpoint", "best", "--split", "id", "--protocol", "few-shot", "--json"
    )
    assert code == 0, err
    assert json.loads(out)
    # Filed by its updates: another best one would have a file of its own.
    (file,) = Path("whole/evaluations").iterdir()
    assert file.name.startswith(f"step-{record.step:09d}-")
    name = json.loads(file.read_text())["checkpoint"]
    assert name == f"step-{record.step:09d}"
    file.write_text(file.read_text().replace(name, "best"))  # as it was written once
    (evaluation,) = read_evaluations(open_run(Path("whole")))
    assert (evaluation.checkpoint, evaluation.name) == (name, file.name)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_with_a_checkpoint_and_another_process_is_refused(
    call: Call, store_path: Path, tmp_path: Path, number: signal.Signals
) -> None:
    code = "from clwm_cli.main import main; main()"
    options = ["--out", "run", "--steps", "100000", "--no-compile", "--set", "checkpoint_every=100000"]
    process = subprocess.Popen(
        [sys.executable, "-c", code, "train", str(store_path), *SMALL_OPTIONS, *options],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    metrics = tmp_path / "run/metrics.jsonl"
    deadline = time.monotonic() + 240
    while not (metrics.exists() and metrics.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.05)
    status, _, err = call("train", store_path, "--out", "run", "--resume")
    assert status == 1
    assert "another process is working on this run" in err
    for _ in range(2):  # as `timeout` and closing terminals do
        os.kill(process.pid, number)
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 130, stderr
    assert "--resume continues run" in stderr
    (checkpoint,) = (tmp_path / "run/checkpoints").iterdir()
    assert read_record(checkpoint).step > 0


def test_a_log_file_gets_a_line_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    bar = ProgressBar(200, "update", "training spc", interval=0.0)
    bar.set_postfix({"q": "1.5"})
    bar.update(100)
    bar.update(50)
    line = capsys.readouterr().err.splitlines()[1]
    assert line.startswith("training spc: 150 of 200 updates (75 %), ")
    assert line.endswith(" left; q 1.5")
    ProgressBar(200, "update", "training spc").update(100)
    assert capsys.readouterr().err == ""


def test_a_resumed_run_may_be_evaluated_otherwise(call: Call, store_path: Path) -> None:
    """Evaluations and checkpoints change nothing that is learned; the rest of --set is kept."""
    small = (*SMALL_OPTIONS, "--set", "iql.expectile=0.6", "--out", "run")
    assert call("train", store_path, *small, "--steps", 4, "--eval-every", 2, "--eval-split", "id")[0] == 0
    zero = ("--eval-every", 3, "--eval-protocol", "zero-shot", "--eval-split", "ood")
    code, _, err = call("train", store_path, "--out", "run", "--resume", "--steps", 8, *zero)
    assert code == 0, err
    run = open_run(Path("run"))
    assert run.config.evaluation is not None
    assert (run.config.evaluation.every, run.config.evaluation.splits) == (3, ("ood",))
    assert run.config.iql.expectile == 0.6
    evaluated = {
        (row["step"], key)
        for row in read_metrics(run.path / "metrics.jsonl")
        for key in row
        if key.startswith("eval/") and key.endswith("/return")
    }
    assert evaluated == {
        *((step, "eval/few-shot/id/return") for step in (2, 4)),
        (6, "eval/zero-shot/ood/return"),
    }
    straight = ("train", store_path, *small[:-1], "straight", "--steps", 8)
    assert call(*straight)[0] == 0
    one, other = (
        load_file(f"{name}/checkpoints/step-000000008/agent.safetensors") for name in ("run", "straight")
    )
    assert all((one[name] == other[name]).all() for name in one)
    code, _, err = call(
        "train", store_path, "--out", "run", "--resume", "--steps", 9, "--set", "checkpoint_every=1"
    )
    assert code == 0, err
    assert open_run(Path("run")).config.checkpoint_every == 1
    refused = call(
        "train", store_path, "--out", "run", "--resume", "--steps", 9, *zero, "--set", "iql.expectile=0.7"
    )
    assert refused[0] == 1
    assert "was begun with other --set values" in refused[2]
