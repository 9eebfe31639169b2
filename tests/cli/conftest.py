"""The command in the process of the tests, and a small run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from clwm_cli.main import main

from clwm_data import collect
from tests.conftest import tiny_manifest
from tests.train.helpers import SMALL

SMALL_OPTIONS = tuple(part for text in SMALL for part in ("--set", text))
#: A few updates on data of few tasks.
SIZES = tuple(
    part
    for text in ("batch.tasks=3", "batch.windows=4", "batch.context=8", "steps=6", "checkpoint_every=6")
    for part in ("--set", text)
)

#: (arguments) -> exit code, stdout, stderr
Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    """The command in this process, in a fresh folder: importing torch anew takes seconds."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str | Path | int) -> tuple[int, str, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as stopped:
            main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return int(stopped.value.code or 0), captured.out, captured.err

    return run


@pytest.fixture(scope="session")
def six(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of two tasks of every split; do not change it."""
    path = tmp_path_factory.mktemp("six") / "six.zarr"
    collect(tiny_manifest(tasks=(0, 1, 6, 7, 12, 13), name="six"), path)
    return path


@pytest.fixture
def run_path(call: Call, store_path: Path, tmp_path: Path) -> Path:
    code, out, err = call("train", store_path, "--out", tmp_path / "run", *SMALL_OPTIONS)
    assert code == 0, err
    assert "8 updates done" in out
    return tmp_path / "run"
