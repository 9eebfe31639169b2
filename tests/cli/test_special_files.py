"""Pipes, devices and huge files in the place of files of runs and stores: one line, at once."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

import pytest

from tests.cli.conftest import SMALL_OPTIONS, Call
from tests.conftest import Clwm

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes")

#: Seconds after which a command counts as hanging.
PATIENCE = 300


@pytest.fixture(autouse=True)
def alarm() -> Iterator[None]:
    """End a test that hangs."""

    def ring(number: int, frame: FrameType | None) -> None:
        raise AssertionError("hangs")

    signal.signal(signal.SIGALRM, ring)
    signal.alarm(PATIENCE)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)


@pytest.fixture(scope="module")
def runs() -> dict[str, Path]:
    """The trained run, once there is one."""
    return {}


@pytest.fixture
def run(
    runs: dict[str, Path],
    call: Call,
    collected: Path,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A copy of a run that a test may damage."""
    if not runs:
        path = tmp_path_factory.mktemp("runs") / "run"
        assert call("train", collected, "--out", path, *SMALL_OPTIONS)[0] == 0
        runs["run"] = path
    return Path(shutil.copytree(runs["run"], tmp_path / "run"))


def pipe(file: Path) -> None:
    os.mkfifo(file)


def endless(file: Path) -> None:
    file.symlink_to("/dev/zero")


def folder(file: Path) -> None:
    file.mkdir()


def huge(file: Path) -> None:
    with file.open("wb") as stream:
        stream.truncate(2**42)


SPOILERS = (pipe, endless, folder, huge)


def spoiled(file: Path, spoil: Callable[[Path], None]) -> str:
    """Put something else in the place of a file; returns the file's name."""
    file.parent.mkdir(exist_ok=True)
    file.unlink(missing_ok=True)
    spoil(file)
    return file.name


@pytest.mark.parametrize("spoil", SPOILERS)
@pytest.mark.parametrize(
    ("file", "verb", "options"),
    [
        ("config.yaml", "eval", ()),
        ("metrics.jsonl", "train", ("--resume", "--steps", "10")),
        ("metrics.jsonl", "report", ()),
        ("evaluations/x.json", "report", ()),
        ("checkpoints/step-000000008/checkpoint.yaml", "eval", ()),
        ("checkpoints/step-000000008/agent.safetensors", "eval", ()),
    ],
)
def test_a_file_of_a_run(
    call: Call,
    run: Path,
    collected: Path,
    spoil: Callable[[Path], None],
    file: str,
    verb: str,
    options: tuple[str, ...],
) -> None:
    name = spoiled(run / file, spoil)
    arguments = (collected, "--out", run) if verb == "train" else (run,)
    code, out, err = call(verb, *arguments, *options)
    assert code == 1, out
    assert name in err or "checkpoint" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("spoil", SPOILERS)
@pytest.mark.parametrize("file", ["tasks/zarr.json", "tasks/0006/zarr.json", "tasks/0006/reward/zarr.json"])
def test_a_file_of_a_store(call: Call, store_path: Path, spoil: Callable[[Path], None], file: str) -> None:
    spoiled(store_path / file, spoil)
    for verb, *options in (("validate",), ("select", "out.zarr", "--tasks", "6")):
        code, out, err = call(verb, store_path, *options)
        assert code == 1
        assert file.removesuffix("/zarr.json") in out + err


def test_a_manifest(clwm: Clwm, tmp_path: Path) -> None:
    pipe(tmp_path / "x.yaml")
    done = clwm("collect", "x.yaml", timeout=PATIENCE)
    assert done.stderr == "clwm: error: x.yaml: cannot be read: not a regular file\n"
    assert done.returncode == 1
