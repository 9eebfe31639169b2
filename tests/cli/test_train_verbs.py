"""``clwm train`` and ``clwm eval``: the real command where processes matter, its function elsewhere."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from clwm_data import compiler
from clwm_data.errors import UnavailableError
from clwm_train.runs.run import open_run
from clwm_train.settings import Execution
from clwm_train.training import train as api
from tests.cli.conftest import SMALL_OPTIONS, Call
from tests.conftest import Clwm


def test_train_then_eval(clwm: Clwm, store_path: Path) -> None:
    trained = clwm("train", store_path, "--out", "run", *SMALL_OPTIONS)
    assert trained.returncode == 0, trained.stderr
    assert trained.stderr == ""  # the progress bar is silent when stderr is not a terminal
    done = clwm("eval", "run", "--json", "--episodes", 1, "--context-size", 20)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert set(document) == {"few-shot", "zero-shot"}
    assert set(document["few-shot"]["id"]["tasks"]) == {"6"}
    assert len(document["zero-shot"]["train"]["tasks"]) == 20
    assert "no context for task" in done.stderr


def test_list_methods_needs_no_store(call: Call) -> None:
    code, out, _ = call("train", "--list-methods")
    assert code == 0
    header, _, *rows = out.splitlines()
    assert header.split()[0] == "method"
    assert {"spc", "csro-ln", "tc-only"} <= {row.split()[0] for row in rows}


def test_train_prints_its_default_folder_and_resumes(call: Call, store_path: Path, tmp_path: Path) -> None:
    code, out, err = call(
        "train", store_path, "--method", "focal", "--seed", 2, "--set", "iql.hidden=[8]", "--steps", 2
    )
    assert code == 0, err
    folder = Path("runs/tiny-focal-iql.hidden=8-s2")
    assert str(folder) in out
    code, _, err = call("train", store_path, "--out", folder)
    assert code == 1
    assert err.startswith(f"clwm: error: {folder}: a run is there already: --resume continues it")
    code, out, err = call("train", store_path, "--out", folder, "--resume", "--steps", 4)
    assert code == 0, err
    assert "focal" in out
    assert "4 updates done" in out
    assert (tmp_path / folder / "checkpoints" / "step-000000004").is_dir()


def test_a_run_goes_on_without_the_file_of_its_method(call: Call, store_path: Path) -> None:
    """And does not silently go on as it was begun where an edited file is named."""
    mine = Path("mine.yaml")
    mine.write_text("extends: focal-ln\nreference: me\nobjectives: {focal: {weight: 2.0}}\n")
    small = ("--set", "batch.tasks=3", "--out", "run")
    named = ("train", store_path, "--method", mine, *small, "--steps")
    assert call(*named, 1)[0] == 0
    assert call(*named, 2, "--resume")[0] == 0
    mine.write_text(mine.read_text().replace("2.0", "3.0"))
    code, _, err = call(*named, 3, "--resume")
    assert code == 1
    assert "run: was begun with other values than mine.yaml and --set give now" in err
    assert "(objectives.focal.weight 2.0, not 3.0)" in err
    mine.unlink()
    code, out, err = call(
        "train", store_path, *small, "--resume", "--steps", 3, "--set", "checkpoint_every=1"
    )
    assert code == 0, err
    assert "3 updates done" in out
    config = open_run(Path("run")).config
    assert config.objectives.focal is not None
    assert (config.objectives.focal.weight, config.checkpoint_every) == (2.0, 1)


def test_a_run_that_is_done_has_not_learned_from_other_data(
    call: Call, store_path: Path, run_path: Path
) -> None:
    assert call("select", store_path, "other.zarr", "--tasks", "0,6")[0] == 0
    code, out, err = call("train", "other.zarr", "--out", run_path, "--resume", "--steps", 1)
    assert code == 1, out
    assert "run: began with other data than" in err


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--method", "focal", "was begun with --method spc: drop --method focal"),
        ("--seed", "5", "was begun with --seed 0: drop --seed 5"),
        (
            "--precision",
            "bf16",
            "begun with other --precision values (precision fp32, not bf16): drop --prec",
        ),
        ("--set", "batch.tasks=9", "was begun with other --set values (batch.tasks 4, not 9): drop --set"),
    ],
)
def test_resume_refuses_another_configuration(
    call: Call, run_path: Path, store_path: Path, option: str, value: str, message: str
) -> None:
    code, _, err = call("train", store_path, "--out", run_path, "--resume", option, value)
    assert code == 1
    assert message in err
    code, _, err = call("train", store_path, "--out", run_path, "--resume", *SMALL_OPTIONS)
    assert code == 0, err


def test_mistakes_are_one_line(call: Call, run_path: Path, store_path: Path, tmp_path: Path) -> None:
    for arguments, message in (
        (("train", "nothing"), "no store 'nothing'"),
        (("train", store_path, "--method", "spcc"), "did you mean spc?"),
        (("train", store_path, "--set", "iql.tau=1"), "unknown key iql.tau"),
        (
            ("train", store_path, "--out", tmp_path / "x", "--device", "gpu"),
            "device 'gpu' cannot be used here",
        ),
        (("eval", tmp_path / "none"), "does not exist"),
        (("eval", store_path), "is a store, not a run: `clwm info` and `clwm train` take stores"),
        (("eval", run_path, "--checkpoint", tmp_path), "no such checkpoint"),
        (("eval", run_path, "--planner", "mppi", "--planner-set", "sample=9"), "did you mean samples?"),
        (
            ("eval", run_path, "--planner", "mppi", "--planner-set", "samples=9"),
            "elites 64 are more than samples 9",
        ),
    ):
        code, _, err = call(*arguments)
        assert code == 1, (arguments, err)
        assert message in err
        assert len(err.strip().splitlines()) == 1, err
    for arguments, message in (
        (
            ("--protocol", "one-shot"),
            "'one-shot' is not one of few-shot, online-context, non-prior, zero-shot",
        ),
        (("--planner-set", "samples=9"), "--planner-set needs --planner mppi"),
        (("--planner", "mppi", "--noise", "1"), "noise is for the policy, but the planner acts"),
        (("--context-sizes", "few"), "'few' is not a list of sizes such as 0,10,50,200,600"),
        (("--context-sizes", "3", "--protocol", "zero-shot"), "zero-shot has no context"),
    ):
        code, _, err = call("eval", run_path, *arguments)
        assert code == 2
        assert message in " ".join(err.split())


def test_a_refused_device_leaves_no_run_behind(call: Call, store_path: Path, tmp_path: Path) -> None:
    code, _, _ = call("train", store_path, "--out", tmp_path / "x", "--device", "gpu")
    assert code == 1
    assert not (tmp_path / "x").exists()


def test_without_a_compiler_compile_leaves_no_run_behind(
    clwm: Clwm, store_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", str(tmp_path / "no-such-compiler"))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))
    refused = clwm("train", store_path, "--out", tmp_path / "x", "--compile")
    assert refused.returncode == 1
    assert "nothing can be compiled here" in refused.stderr
    assert "--no-compile" in refused.stderr
    assert len(refused.stderr.strip().splitlines()) == 1, refused.stderr
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("there_is_a_compiler", [True, False])
def test_long_runs_are_compiled_unless_told_otherwise(
    call: Call,
    store_path: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    there_is_a_compiler: bool,
) -> None:
    def check(device: torch.device) -> None:
        if not there_is_a_compiler:
            raise UnavailableError("no compiler")

    asked: list[bool | None] = []

    def train_run(*_: object, execution: Execution, **__: object) -> bool:
        asked.append(execution.compile)
        return True

    monkeypatch.setattr(compiler, "check_compiler", check)
    monkeypatch.setattr(api, "train_run", train_run)
    for number, options in enumerate(
        [("--steps", 10_000), ("--steps", 9_999), ("--steps", 10_000, "--no-compile")]
    ):
        code, _, err = call("train", store_path, "--out", tmp_path / str(number), *SMALL_OPTIONS, *options)
        assert code == 0
        assert ("slower than it could: no compiler" in err) == (number == 0 and not there_is_a_compiler)
        assert ("the update is compiled first" in err) == (number == 0 and there_is_a_compiler)
    assert asked == [there_is_a_compiler, False, False]


def test_moved_data_is_asked_for(call: Call, run_path: Path, store_path: Path) -> None:
    moved = store_path.rename(store_path.with_name("moved.zarr"))
    code, _, err = call("eval", run_path)
    assert code == 1
    assert "say where it is with --store" in err
    assert call("eval", run_path, "--store", moved, "--episodes", 1)[0] == 0


def test_interrupt_ends_with_a_checkpoint(call: Call, store_path: Path, tmp_path: Path) -> None:
    options = [*SMALL_OPTIONS, "--set", "checkpoint_every=1000000", "--steps", "1000000", "--no-compile"]
    code = "from clwm_cli.main import main; main()"
    command = [sys.executable, "-c", code, "train", str(store_path), "--out", "run", *options]
    process = subprocess.Popen(
        command, cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    metrics = tmp_path / "run" / "metrics.jsonl"
    for _ in range(1200):
        if metrics.exists() and metrics.read_text():
            break
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "interrupted: the same command with --resume continues run" in stderr
    (checkpoint,) = (tmp_path / "run" / "checkpoints").iterdir()
    done = int(checkpoint.name.removeprefix("step-"))
    exit_code, _, err = call("train", store_path, "--out", "run", "--resume", "--steps", done + 2)
    assert exit_code == 0, err


def without_torch(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """The command with a finder that hides torch, as on a machine without it."""
    code = (
        "import sys\n"
        "class Hide:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] == 'torch':\n"
        "            raise ModuleNotFoundError('hidden', name='torch')\n"
        "sys.meta_path.insert(0, Hide())\n"
        "from clwm_cli.main import main; main()"
    )
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("verb", ["train", "eval"])
def test_help_needs_no_torch(verb: str) -> None:
    done = without_torch(verb, "--help")
    assert done.returncode == 0, done.stderr
    assert "Examples:" in done.stdout


def test_missing_torch_is_one_line(store_path: Path) -> None:
    done = without_torch("train", store_path)
    assert done.returncode == 1
    assert done.stderr.strip() == 'clwm: error: training needs the package torch: pip install "clwm[train]"'


def test_several_seeds_train_resume_and_are_evaluated_together(
    call: Call, store_path: Path, tmp_path: Path
) -> None:
    code, out, err = call(
        "train", store_path, "--seeds", "1-2,5", "--name", "spc", "--steps", 4, *SMALL_OPTIONS
    )
    assert code == 0, err
    folder = Path("runs/tiny-spc-s1-2,5")
    assert str(folder) in out
    code, _, err = call("train", store_path, "--seeds", "1-2,5", "--name", "spc", "--resume", "--steps", 8)
    assert code == 0, err
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [(row["step"], row["seed"]) for row in rows] == [
        (s, seed) for s in (3, 6, 8) for seed in (1, 2, 5)
    ]
    code, _, err = call("train", store_path, "--seeds", "1-3", "--out", folder, "--resume")
    assert code == 1
    assert "was begun with --seeds 1-2,5: drop --seeds 1-3" in err

    code, out, err = call(
        "eval", folder, "--json", "--episodes", 1, "--protocol", "zero-shot", "--split", "id"
    )
    assert code == 0, err
    together = json.loads(out)["seeds"]
    assert list(together) == ["1", "2", "5"]
    call("train", store_path, "--seed", 2, "--steps", 8, "--out", "alone", *SMALL_OPTIONS)
    _, out, _ = call("eval", "alone", "--json", "--episodes", 1, "--protocol", "zero-shot", "--split", "id")
    alone = json.loads(out)["zero-shot"]["id"]
    assert together["2"]["zero-shot"]["id"]["return_mean"] == pytest.approx(alone["return_mean"], rel=1e-3)
    assert together["1"] != together["2"]
    _, out, _ = call("eval", folder, "--episodes", 1, "--protocol", "zero-shot", "--split", "id")
    assert [line for line in out.splitlines() if line.startswith("seed")] == ["seed 1:", "seed 2:", "seed 5:"]


@pytest.mark.parametrize("options", [("--seeds", "0-2", "--seed", 1), ("--seeds", "2-0"), ("--seeds", "x")])
def test_wrong_seeds_are_told(call: Call, store_path: Path, options: tuple[str, ...]) -> None:
    code, _, err = call("train", store_path, *options)
    assert code in (1, 2)
    assert "seed" in err.splitlines()[-1]


@pytest.mark.parametrize("precision", ["fp32", "mixed", "bf16"])
def test_profile_writes_a_trace_and_prints_shares(call: Call, store_path: Path, precision: str) -> None:
    options = ("--out", "run", "--profile", "--steps", 10, "--precision", precision)
    code, out, err = call("train", store_path, *SMALL_OPTIONS, *options)
    assert code == 0, err
    assert f"precision: {precision}" in Path("run/config.yaml").read_text()
    shares = {
        line.rsplit(maxsplit=2)[0]: float(line.split()[-2])
        for line in out.splitlines()
        if line.endswith(" %")
    }
    assert sum(shares.values()) == pytest.approx(100.0, abs=1.0)
    assert {"sampler", "context encoder", "temporal consistency", "iql", "optimisers", "rest"} <= set(shares)
    names = {event.get("name") for event in json.loads(Path("run/trace.json").read_text())["traceEvents"]}
    assert "clwm: iql backward" in names
