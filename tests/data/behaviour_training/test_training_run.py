"""Training runs that are interrupted, killed, damaged, resumed and made longer."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import pytest
import torch

from clwm_data import compiler
from clwm_data.behaviour_training import crossq
from clwm_data.behaviour_training.folder import RunFolder
from clwm_data.behaviour_training.graph import Graph
from clwm_data.behaviour_training.run import decide_compiled, train
from clwm_data.behaviour_training.settings import CurvePoint, TrainingSettings
from clwm_data.errors import ClwmError, UnavailableError
from clwm_data.families import get_family
from clwm_data.store.lock import locked
from clwm_data.zoo.card import load_policies, read_card
from clwm_data.zoo.evaluation import PolicyEvaluator

POINT_ROBOT = get_family("point-robot")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short run; do not change it."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    settings = TrainingSettings(family="point-robot", tasks=[3, 20, 31])
    train(settings, RunFolder(folder), steps=1_000, checkpoints=2)
    return folder


def test_a_run_can_be_resumed_and_made_longer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    settings = TrainingSettings(family="point-robot", tasks=[3, 20], updates=1)
    folder = RunFolder(tmp_path / "run")
    zoo = train(settings, folder, steps=2_200, checkpoints=3)
    first = folder.read_curve()
    with folder.curve.open("a") as stream:  # killed while it wrote an evaluation
        stream.write(first[-1].model_copy(update={"environment_steps": 2_600}).model_dump_json() + "\n{")
    train(settings, folder, steps=2_500, checkpoints=3, resume=True)
    curve = folder.read_curve()
    assert curve[: len(first)] == first
    assert [point.environment_steps for point in curve] == [0, 1_000, 2_000, 2_200, 2_504]
    card = read_card(zoo, POINT_ROBOT)
    assert card.tasks == [3, 20]
    for checkpoint in card.checkpoints:
        load_policies(zoo, card, checkpoint)
    with pytest.raises(ClwmError, match="was begun with seed 0, not 1"):
        train(settings.model_copy(update={"seed": 1}), folder, steps=1, checkpoints=2, resume=True)
    with pytest.raises(ClwmError, match="not empty"):
        train(settings, folder, steps=1, checkpoints=2)
    with pytest.raises(ClwmError, match="was begun with tasks 3,20, not 3: resume it with --tasks 3,20"):
        train(settings.model_copy(update={"tasks": [3]}), folder, steps=1, checkpoints=2, resume=True)
    with pytest.raises(ClwmError, match="holds no training run"):
        train(settings, RunFolder(tmp_path / "none"), steps=1, checkpoints=2, resume=True)
    assert list(temporary.glob("SB3*")) == []  # the learning library's logger leaves one per call of learn


def test_a_run_that_was_stopped_before_its_first_evaluation_is_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = TrainingSettings(family="point-robot", tasks=[3, 20], updates=1)
    folder = RunFolder(tmp_path / "run")

    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(PolicyEvaluator, "__call__", stop)
        with pytest.raises(KeyboardInterrupt):
            train(settings, folder, steps=1_000, checkpoints=2)
    assert not folder.snapshot.exists()
    with folder.curve.open("w") as stream:  # killed before the snapshot, while it wrote a second evaluation
        stream.write(
            CurvePoint(
                environment_steps=0,
                minutes=0.0,
                returns_stochastic=[0.0] * 2,
                returns_deterministic=[0.0] * 2,
            ).model_dump_json()
            + '\n{"environ'
        )
    train(settings, folder, steps=1_000, checkpoints=2, resume=True)
    assert [point.environment_steps for point in folder.read_curve()] == [0, 1_000]


@pytest.mark.parametrize("file", ["snapshot.pt", "curve.jsonl"])
def test_a_damaged_run_is_not_resumed(finished: Path, tmp_path: Path, file: str) -> None:
    run = RunFolder(Path(shutil.copytree(finished, tmp_path / "run")))
    damaged = run.path / file
    damaged.write_bytes(damaged.read_bytes()[:100])
    settings = run.read_description().settings
    with pytest.raises(ClwmError, match=f"{damaged}: .*--resume starts again"):
        train(settings, run, steps=1_200, checkpoints=2, resume=True)
    run.snapshot.unlink()
    train(settings, run, steps=1_000, checkpoints=2, resume=True)
    assert [point.environment_steps for point in run.read_curve()] == [0, 1_000]


def test_one_process_works_on_a_run(finished: Path, tmp_path: Path) -> None:
    run = RunFolder(Path(shutil.copytree(finished, tmp_path / "run")))
    settings = run.read_description().settings
    with locked(run.path), pytest.raises(ClwmError, match="another process is writing to it"):
        train(settings, run, steps=1_200, checkpoints=2, resume=True)
    assert len(run.read_curve()) == 2


def compiles() -> bool:
    try:
        compiler.check_compiler(torch.device("cpu"))
    except UnavailableError:
        return False
    return True


def test_a_killed_run_is_resumed(tmp_path: Path) -> None:
    """kill -9 in the middle of learning, after two evaluations; compiled, where there is a compiler."""
    arguments = ["behaviour", "train", "point-robot", "--tasks", "3,20", "--out", "run", "--steps"]
    command = [sys.executable, "-c", "from clwm_cli.main import main; main()", *arguments]
    run = RunFolder(tmp_path / "run")
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen([*command, "1000000"], cwd=tmp_path, stdout=log, stderr=log)
        try:
            deadline = time.monotonic() + 200
            while len(run.read_curve()) < 3:
                assert process.poll() is None, (tmp_path / "log").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.02)
        finally:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
    assert run.read_description().compiled == compiles()
    before = run.read_curve()
    left = run.path / "snapshot.pt.1.partial"  # where the kill came while it wrote
    left.write_bytes(b"half of a snapshot")
    resumed = subprocess.run(
        [*command, "2600", "--resume"], cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False
    )
    assert resumed.returncode == 0, resumed.stderr
    curve = run.read_curve()
    steps = [point.environment_steps for point in curve]
    assert steps == sorted(set(steps))
    assert steps[-1] >= 2_600
    assert curve[: len(before) - 1] == before[:-1]  # the last one may have been without its snapshot
    card = read_card(run.zoo, POINT_ROBOT)
    for checkpoint in card.checkpoints:
        load_policies(run.zoo, card, checkpoint)
    assert [path.name for path in run.path.iterdir() if path.name.startswith(".")] == []
    assert not list(run.path.rglob("*.partial"))


def test_long_runs_are_compiled_where_there_is_a_compiler(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = TrainingSettings(family="point-robot", tasks=[3])
    messages: list[str] = []

    def decided(steps: int, requested: bool | None = None) -> bool:
        return decide_compiled(
            settings, RunFolder(tmp_path), steps, requested=requested, warn=messages.append
        )

    monkeypatch.setattr(compiler, "check_compiler", lambda _: None)
    assert [decided(steps) for steps in (100, 41_999, 42_000)] == [False, False, True]
    assert [decided(steps, requested) for steps, requested in ((42_000, False), (100, True))] == [False, True]
    assert messages == []

    def fail(_: object) -> None:
        raise UnavailableError("nothing can be compiled here: install g++")

    monkeypatch.setattr(compiler, "check_compiler", fail)
    assert not decided(42_000)
    assert messages == ["training goes slower than it could: nothing can be compiled here: install g++"]
    with pytest.raises(UnavailableError, match="g\\+\\+"):
        decided(100, requested=True)


def test_a_run_goes_on_as_it_was_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bit for bit the same whenever it is resumed; torch.compile only traces here, which takes less time."""
    monkeypatch.setattr(compiler, "check_compiler", lambda _: None)
    monkeypatch.setattr(crossq, "Graph", partial(Graph, backend="eager"))
    settings = TrainingSettings(family="point-robot", tasks=[3, 20], updates=1)
    run = RunFolder(tmp_path / "run")
    train(settings, run, steps=2_200, checkpoints=2, compiled=True)
    assert run.read_description().compiled
    copies = [RunFolder(Path(shutil.copytree(run.path, tmp_path / name))) for name in ("one", "other")]
    for copy in copies:
        assert decide_compiled(settings, copy, 2_400, resume=True)
        train(settings, copy, steps=2_400, checkpoints=2, resume=True)
    steps = copies[0].read_curve()[-1].environment_steps
    one, other = (copy.candidate(steps).read_bytes() for copy in copies)
    assert one == other != run.candidate(2_200).read_bytes()
    messages: list[str] = []
    assert not decide_compiled(settings, run, 2_400, resume=True, requested=False, warn=messages.append)
    (message,) = messages
    assert message.startswith("the run was begun compiled and goes on not compiled")
