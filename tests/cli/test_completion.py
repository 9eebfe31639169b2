"""Completion by the shell: the real script in a real bash, and what is offered where."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from clwm_data.families import family_names
from clwm_data.manifest import bundled_manifests
from clwm_train.methods.method_file import names
from tests.cli.conftest import Call
from tests.conftest import Clwm

#: (words) -> what is offered for the last one
Offered = Callable[..., list[str]]


@pytest.fixture
def offered(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Offered:
    """What is offered after some words, the last of which is incomplete; two stores and three runs exist."""
    for name in ("data/one.zarr", "data/other.zarr", "runs/one-spc-s0", "runs/two", "runs/exp/one-focal-s0"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "run.yaml").touch()

    def complete(*words: str) -> list[str]:
        monkeypatch.setenv("COMP_WORDS", " ".join(["clwm", *words]))
        monkeypatch.setenv("COMP_CWORD", str(len(words)))
        monkeypatch.setenv("_CLWM_COMPLETE", "bash_complete")
        _, out, err = call()
        assert err == ""
        return [line.removeprefix("plain,") for line in out.split()]

    return complete


def test_names_are_offered_where_they_are_looked_up(offered: Offered) -> None:
    assert {"collect", "preview", "completion"} <= set(offered(""))
    assert offered("deli") == []
    assert offered("dele") == ["delete-episodes"]
    assert offered("train", "") == ["one", "other"]
    assert offered("validate", "ot") == ["other"]
    assert offered("eval", "") == ["one-spc-s0", "two", "runs/exp/one-focal-s0"]
    assert offered("push", "o") == ["one", "other", "one-spc-s0"]
    assert offered("collect", "") == bundled_manifests()
    assert offered("families", "") == list(family_names())
    assert offered("preview", "point-robot-w") == ["point-robot-wind"]
    assert offered("train", "one", "--method", "") == names("methods")
    assert offered("train", "one", "--preset", "") == names("presets")
    assert offered("eval", "two", "--protocol", "few-shot,") == [
        f"few-shot,{name}" for name in ("online-context", "non-prior", "zero-shot")
    ]
    assert offered("train", "--eval-p") == ["--eval-protocol"]
    assert offered("train", "./da") == ["file,./da"], "a path: the shell's own completion"


#: Shell -> a session in which its script is read, and that prints what is offered for one line after another.
SESSIONS = {
    "bash": """{script}
for line in "clwm info m" "clwm dele" "clwm eval x --protocol few-shot,z"; do
    COMP_WORDS=($line) COMPREPLY=(); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
    _clwm_completion clwm; echo "${{COMPREPLY[@]}}"
done""",
    "zsh": """{script}
[[ $_comps[clwm] == _clwm_completion ]] || exit 3
compadd() {{ print -- $completions }}
_describe() {{ print -- ${{completions_with_descriptions%%:*}} }}
for line in "clwm info m" "clwm dele" "clwm eval x --protocol few-shot,z"; do
    words=(${{=line}}); CURRENT=$#words; _clwm_completion
done""",
    "fish": """{script}
for line in "clwm info m" "clwm dele" "clwm eval x --protocol few-shot,z"
    complete --do-complete $line | string split --fields 1 \\t
end""",
}


@pytest.mark.parametrize("shell", SESSIONS)
def test_a_shell_completes_with_the_printed_script(clwm: Clwm, tmp_path: Path, shell: str) -> None:
    """In a shell without any configuration, as it comes."""
    if shutil.which(shell) is None:
        pytest.skip(f"needs {shell}")
    (tmp_path / "data" / "mine.zarr").mkdir(parents=True)
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "clwm"
    program.write_text(f"#!{sys.executable}\nfrom clwm_cli.entry import run\nrun()\n")
    program.chmod(0o755)
    done = clwm("completion", shell)
    assert (done.returncode, done.stderr) == (0, "")
    assert shell != "zsh" or done.stdout.startswith("#compdef clwm\n")
    bare = {"bash": "--norc", "zsh": "--no-rcs", "fish": "--no-config"}[shell]
    session = subprocess.run(
        [shell, bare, "-c", SESSIONS[shell].format(script=done.stdout)],
        cwd=tmp_path,
        env={**os.environ, "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (session.stdout.split(), session.stderr) == (["mine", "delete-episodes", "few-shot,zero-shot"], "")


@pytest.mark.skipif(shutil.which("fish") is None, reason="needs fish")
def test_help_with_a_comma_is_whole_in_fish(clwm: Clwm) -> None:
    script = clwm("completion", "fish").stdout
    reply = "plain,list\tStores, and runs"
    session = subprocess.run(
        ["fish", "--no-config", "-c", f"{script}\nfunction env; echo '{reply}'; end; _clwm_completion"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert session.stdout == "list\tStores, and runs\n"
