"""``clwm push`` and ``clwm pull`` as a user types them, against a Hub on loopback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from clwm_cli.main import main
from huggingface_hub import constants

from clwm_data.opening import open_store
from clwm_data.store.validate import validate
from tests.conftest import Clwm
from tests.hub_repository import Repository
from tests.hub_server import Fault, HubServer


@dataclass(frozen=True)
class Done:
    returncode: int
    stdout: str
    stderr: str


Here = Callable[..., Done]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Here:
    """Run the command in this process, where nobody waits: ``here("pull", "user/data")``."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str | Path) -> Done:
        capsys.readouterr()
        try:
            main([str(argument) for argument in arguments])
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
        return Done(code, *capsys.readouterr())

    return run


def test_as_a_user_types_it(clwm: Clwm, hub: HubServer, collected: Path, tmp_path: Path) -> None:
    """In processes of their own, whose only link to the server is the environment."""
    done = clwm("push", collected, "user/data", "--tag", "v1")
    assert (done.returncode, done.stderr) == (0, "")
    done = clwm("pull", "user/data", "--revision", "v1")
    assert (done.returncode, done.stderr) == (0, "")
    assert validate(tmp_path / "data/tiny.zarr") == []


def test_publish_look_and_download(here: Here, hub: HubServer, collected: Path, tmp_path: Path) -> None:
    dry = here("push", collected, "user/data", "--dry-run", "--json")
    plan = json.loads(dry.stdout)
    assert hub.repositories == {}
    assert {file["state"] for file in plan["files"]} == {"new"}
    table = here("push", collected, "user/data", "--dry-run").stdout
    assert "tiny.zarr/tasks/0006/reward/c.0" in table
    assert f"user/data: {len(plan['files'])} files, " in table

    done = here("push", collected, "user/data", "--tag", "v1", "--private")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert done.stdout.startswith(f"{hub.endpoint}/datasets/user/data: {len(plan['files'])} files, ")
    assert done.stdout.endswith(f"commit {hub.dataset().refs['v1'][:12]}, tag v1\n")
    assert "nothing to upload" in here("push", collected, "user/data").stdout

    shown = json.loads(here("info", "hf://datasets/user/data@v1", "--json").stdout)
    assert (shown["name"], shown["complete"], len(shown["tasks"])) == ("tiny", True, 3)
    assert "family point-robot" in here("info", "user/data").stdout
    assert {path for path in hub.sent if "tasks" in path} == set()

    part = here("pull", "user/data", "--tasks", "6-12", "--revision", "v1")
    assert part.returncode == 0, part.stderr
    assert part.stdout.startswith("data/tiny.zarr: 2 tasks, ")
    assert part.stderr == "not in the store: task 0\n"
    assert here("pull", "user/data").stderr == ""
    assert here("pull", "user/data").stdout.startswith("data/tiny.zarr: 3 tasks, nothing new to download")
    assert validate(tmp_path / "data/tiny.zarr") == []
    split = here("pull", "user/data", "--split", "train", "--split", "id", "--out", "x.zarr")
    assert list(open_store(tmp_path / "x.zarr").tasks) == [6, 12], split.stderr
    assert here("validate", "user/data").returncode == 0
    everything = " ".join(run.stdout + run.stderr for run in (dry, done, part, split))
    assert "Secret" not in everything


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["pull", "user/nowhere"], "no such repository on the Hub"),
        (["pull", "nowhere"], "is not a name on the Hub"),
        (["pull", "user/data@v1", "--revision", "v2"], "names another revision"),
        (["info", "hf://datasets/user/nowhere"], "no such repository on the Hub"),
        (["push", "nowhere", "user/data"], "no store 'nowhere'"),
        (["push", "user/data", "user/data"], "no store 'user/data'"),
        (["push", "{store}", "data"], "is not a name on the Hub"),
    ],
)
def test_errors_are_one_line(
    here: Here, hub: HubServer, collected: Path, arguments: list[str], words: str
) -> None:
    done = here(*[argument.format(store=collected) for argument in arguments])
    assert done.returncode == 1
    assert done.stdout == ""
    assert words in done.stderr
    assert done.stderr.startswith("clwm: error: ")
    assert done.stderr.count("\n") == 1


def test_trouble_on_the_way_is_one_line_too(here: Here, hub: HubServer, collected: Path) -> None:
    hub.faults.append(Fault("GET", "/", status=500, times=10**6))
    done = here("pull", "user/data")
    assert done.stderr.count("\n") == 1
    assert "the Hub has a problem" in done.stderr
    hub.faults = [
        Fault("GET", "/", drop="before", times=10**6),
        Fault("POST", "/", drop="before", times=10**6),
    ]
    done = here("push", collected, "user/data")
    assert done.stderr.count("\n") == 1
    assert "cannot be reached" in done.stderr


def test_a_dry_run_without_a_network(
    here: Here, hub: HubServer, published: Repository, collected: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = json.loads(here("push", collected, "user/data", "--dry-run", "--json").stdout)
    files = {file["path"]: file["bytes"] for file in known["files"] if file["path"].startswith("tiny.zarr/")}
    assert {file["state"] for file in known["files"] if file["path"] in files} == {"same"}
    hub.faults.append(Fault("GET", "/", drop="before", times=10**6))
    for offline in (False, True):
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", offline)
        done = here("push", collected, "user/data", "--dry-run", "--json")
        assert done.returncode == 0
        assert done.stderr.splitlines()[-1] == "clwm: this lists what would be pushed to a new repository"
        assert ("HF_HUB_OFFLINE" if offline else "cannot be reached") in done.stderr
        alone = json.loads(done.stdout)["files"]
        assert {file["state"] for file in alone} == {"new"}
        assert files.items() <= {file["path"]: file["bytes"] for file in alone}.items()


def test_several_stores(here: Here, hub: HubServer, collected: Path, tmp_path: Path) -> None:
    repository = hub.add("user/data")
    for name in ("tiny", "copy"):
        repository.change(
            {
                f"{name}.zarr/{path.relative_to(collected).as_posix()}": path.read_bytes()
                for path in collected.rglob("*")
                if path.is_file()
            }
        )
    done = here("pull", "user/data", "--tasks", "6")
    assert "holds several stores" in done.stderr
    assert "user/data/copy.zarr" in done.stderr
    assert here("pull", "user/data/copy.zarr", "--tasks", "6").returncode == 0
    done = here("pull", "user/data", "--split", "train")
    assert [line.split(":")[0] for line in done.stdout.splitlines()] == ["data/copy.zarr", "data/tiny.zarr"]
    assert list(open_store(tmp_path / "data/copy.zarr").tasks) == [6, 12]


def test_a_local_store_never_contacts_the_hub(collected: Path, tmp_path: Path) -> None:
    """Nor is the Hub's client even imported."""
    guard = """
import socket, sys
def refuse(*arguments, **options):
    raise AssertionError(f"network: {arguments}")
socket.socket.connect = socket.getaddrinfo = socket.create_connection = refuse
from clwm_cli.main import main
try:
    main(sys.argv[1:])
finally:
    assert "huggingface_hub" not in sys.modules, "the Hub's client was imported"
"""
    for arguments in (
        ["info", str(collected), "--json"],
        ["validate", str(collected)],
        ["info", "data/nowhere"],
    ):
        done = subprocess.run(
            [sys.executable, "-c", guard, *arguments],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            env={**os.environ, "HF_ENDPOINT": "http://127.0.0.1:9"},
            check=False,
        )
        assert "AssertionError" not in done.stderr, done.stderr
        assert done.returncode == (1 if "nowhere" in arguments[1] else 0)
