"""The command itself: what does not depend on the verb."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NoReturn

import click
import pytest
from clwm_cli.main import ALIASES, SECTIONS, VERBS, main
from clwm_cli.main import clwm as group

from tests.conftest import Clwm


@pytest.mark.parametrize(
    ("typed", "meant"), [("colect", "collect"), ("Train", "train"), ("analyis", "analyse")]
)
def test_a_near_miss_is_answered_with_a_suggestion(clwm: Clwm, typed: str, meant: str) -> None:
    done = clwm(typed)
    assert done.returncode == 2
    assert f"no command is called {typed!r}: did you mean {meant}?" in done.stderr


@pytest.mark.parametrize(("alias", "verb"), ALIASES.items())
def test_other_spellings_of_verbs_work(alias: str, verb: str) -> None:
    context = click.Context(group)
    assert group.get_command(context, alias) is group.get_command(context, verb)


def test_the_help_lists_every_verb_in_a_section(clwm: Clwm) -> None:
    lines = clwm("--help").stdout.splitlines()
    for title, verbs in SECTIONS.items():
        start = lines.index(f"{title}:")
        shown = [
            line.split()[0] for line in lines[start + 1 : start + 1 + 2 * len(verbs)] if line[2:3].strip()
        ]
        assert shown[: len(verbs)] == list(verbs)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_with_an_example(verb: str) -> None:
    command = group.get_command(click.Context(group), verb)
    assert command is not None
    assert command.help
    assert f"clwm {verb}" in command.help


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["list"], 0),
        (["env"], 0),
        (["demo", "--help"], 0),
        (["completion", "bash"], 0),
        (["select", "nowhere", "x.zarr", "--split", "id"], 1),
        (["merge", "nowhere", "--out", "x.zarr"], 1),
        (["delete-episodes", "nowhere", "--task", "0", "--episodes", "0"], 1),
        (["convert", "nowhere", "x.npz", "--to", "npz"], 1),
        (["behaviour", "combine", "nowhere", "--out", "x"], 1),
        (["analyse", "nowhere"], 1),
    ],
)
def test_a_verb_imports_what_it_needs(cold_clwm: Clwm, arguments: list[str], code: int) -> None:
    """Verbs that no tutorial shows; the tests run those as they stand, in fresh processes too."""
    done = cold_clwm(*arguments)
    assert done.returncode == code, done.stderr
    assert bool(done.stdout) == (code == 0)
    if code:
        assert done.stderr.startswith("clwm: error: ")
        assert "nowhere" in done.stderr
        assert done.stderr.count("\n") == 1


def test_the_package_runs_as_a_module() -> None:
    done = subprocess.run([sys.executable, "-m", "clwm_cli", "--version"], capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stdout.startswith("clwm")


@pytest.mark.parametrize("delay", [0.1, 0.2, 0.3, 0.4, 0.6])
def test_ctrl_c_ends_a_command_with_130_and_without_a_traceback(delay: float, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "clwm_cli", "collect", "point-robot"],  # which takes a few seconds
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
    )
    time.sleep(delay)
    process.send_signal(signal.SIGINT)
    _, messages = process.communicate(timeout=30)
    if "clwm_cli" in messages or process.returncode == 130:  # else Python itself was still starting
        assert process.returncode == 130
        assert "Traceback" not in messages


def test_an_interrupted_verb_exits_with_130(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt() -> NoReturn:
        raise KeyboardInterrupt

    monkeypatch.setattr(type(group), "get_command", lambda *_: click.Command("info", callback=interrupt))
    with pytest.raises(SystemExit) as ended:
        main(["info"])
    assert ended.value.code == 130
    assert "clwm: interrupted" in capsys.readouterr().err


@pytest.mark.parametrize("error", [KeyError("x"), RuntimeError("two\nlines"), MemoryError()])
def test_an_unexpected_error_is_one_line(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> NoReturn:
        raise error

    monkeypatch.setattr(type(group), "get_command", lambda *_: click.Command("info", callback=fail))
    with pytest.raises(SystemExit) as ended:
        main(["info"])
    assert ended.value.code == 1
    message = capsys.readouterr().err
    assert message.startswith("clwm: error: ")
    assert message.count("\n") == 1
    with pytest.raises(type(error)):
        main(["--debug", "info"])


def test_closed_standard_streams_change_nothing(tmp_path: Path) -> None:
    command = f"{sys.executable} -m clwm_cli"
    for closed in ("2>&-", ">&-", "<&-", "2>&- >&- <&-"):
        done = subprocess.run(
            [
                "sh",
                "-c",
                f"{command} collect point-robot-tiny --tasks 0 --out {tmp_path}/a.zarr --overwrite {closed}",
            ],
            capture_output=True,
            cwd=tmp_path,
        )
        assert done.returncode == 0, closed
    done = subprocess.run(["sh", "-c", f"{command} validate {tmp_path}/a.zarr"], capture_output=True)
    assert done.returncode == 0


def test_a_reader_that_stops_early_ends_the_command_quietly() -> None:
    done = subprocess.run(
        ["sh", "-c", f"{sys.executable} -m clwm_cli families | head -1"], capture_output=True, text=True
    )
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("verb", ["info", "validate", "eval"])
def test_a_path_of_thousands_of_characters_is_told_in_a_line_that_can_be_read(clwm: Clwm, verb: str) -> None:
    done = clwm(verb, "a/" * 2500 + "end.zarr")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("clwm: error: ")
    assert "end.zarr" in line
    assert len(line) < 1100
