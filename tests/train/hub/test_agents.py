"""Agents are pulled; a push of one loses nothing that is published, and tells nothing of this machine."""

from __future__ import annotations

import getpass
import json
import socket
from pathlib import Path

import pytest
import torch
import yaml

from clwm_data.errors import ConflictError
from clwm_train.hub.agents import publish_run
from clwm_train.runs import checkpoint, finding
from clwm_train.runs.loading import load_agent
from clwm_train.runs.lock import run_lock
from tests.conftest import Clwm
from tests.data.hub.conftest import hub, waits
from tests.hub_server import HubServer
from tests.train.hub.test_hub import run, trained

__all__ = ["hub", "run", "trained", "waits"]


def test_the_files_of_a_checkpoint_are_called_as_where_they_are_written() -> None:
    for name in (checkpoint.AGENT, checkpoint.INDEX):
        assert finding.CHECKPOINT_FILE.fullmatch(f"checkpoints/step-000000001/{name}")
    assert not finding.CHECKPOINT_FILE.fullmatch(f"checkpoints/step-000000001/{checkpoint.LEARNER}")


def test_an_agent_is_pulled(hub: HubServer, clwm: Clwm, run: Path, tmp_path: Path) -> None:
    publish_run(run, "user/agent").push(tag="v1")
    done = clwm("pull", "user/agent", "--revision", "v1", "--json")
    assert done.returncode == 0, done.stderr
    pulled = tmp_path / "runs/agent"
    assert json.loads(done.stdout) == [
        {"path": "runs/agent", "commit": hub.repositories["model", "user/agent"].refs["v1"]}
    ]
    ours, theirs = load_agent(run), load_agent(pulled)
    for name, tensor in ours.state_dict().items():
        assert torch.equal(tensor, theirs.state_dict()[name])
    done = clwm("pull", "hf://user/agent")
    assert (done.returncode, done.stderr.count("exists: choose another --out")) == (1, 1)
    assert "drop --tasks" in clwm("pull", "hf://user/agent", "--tasks", "0", "--out", "x").stderr
    with run_lock(tmp_path / "twice"):
        done = clwm("pull", "hf://user/agent", "--out", "twice")
    assert (done.returncode, done.stderr.count("twice: another process is working on this run")) == (1, 1)
    done = clwm("info", "user/agent")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "no such dataset" in done.stderr
    assert "hf://models/user/agent" in done.stderr


def test_a_run_is_pushed_by_its_name(hub: HubServer, clwm: Clwm, run: Path) -> None:
    done = clwm("push", run.name, "user/agent", "--dry-run", "--json")
    assert done.returncode == 0, done.stderr
    assert "run.yaml" in {file["path"] for file in json.loads(done.stdout)["files"]}


def test_another_runs_agent_is_not_replaced(hub: HubServer, run: Path) -> None:
    publish_run(run, "user/agent").push()
    record = run / "run.yaml"
    text = yaml.safe_load(record.read_text())
    record.write_text(yaml.safe_dump({**text, "created": "2026-01-01T00:00:00+00:00"}))
    with pytest.raises(ConflictError, match=r"another run is published there .created .*--replace"):
        publish_run(run, "user/agent").push()
    publish_run(run, "user/agent").push(replace=True)


def test_a_later_checkpoint_is_not_replaced(hub: HubServer, run: Path) -> None:
    publish_run(run, "user/agent").push()
    files = hub.repositories["model", "user/agent"].files()
    later = {
        path.replace("000000008", "000000009"): text for path, text in files.items() if "000000008/" in path
    }
    hub.repositories["model", "user/agent"].change(later)
    with pytest.raises(ConflictError, match=r"later checkpoint step-000000009 is published there.*--replace"):
        publish_run(run, "user/agent").push()


def test_nothing_that_is_pushed_tells_of_this_machine(hub: HubServer, run: Path, tmp_path: Path) -> None:
    """Neither the method's file, nor where the data lay, nor who trained it where."""
    record = run / "run.yaml"
    text = yaml.safe_load(record.read_text())
    private = str(tmp_path / "private-folder")
    changes = {
        "method": f"{private}/mine.yaml",
        "preset": f"{private}/small.yaml",
        "store": f"{private}/x.zarr",
    }
    changes["command"] = f"clwm train --method {private}/mine.yaml --out={private}/y"
    record.write_text(yaml.safe_dump({**text, **changes}))
    publish_run(run, "user/agent").push()
    repository = hub.repositories["model", "user/agent"]
    secrets = [private, str(tmp_path), socket.gethostname(), f"/{getpass.getuser()}/"]
    for path, content in repository.files().items():
        for secret in secrets:
            assert secret.encode() not in content, (path, secret)
    assert not any(secret in message for message in repository.messages for secret in secrets)
    assert "| method | mine.yaml, preset small.yaml," in repository.files()["README.md"].decode()


def test_a_published_agent_is_filmed(hub: HubServer, clwm: Clwm, run: Path, collected: Path) -> None:
    """By its name, which could be a dataset's, too; one that is neither is told in a line."""
    pytest.importorskip("PIL.Image")
    publish_run(run, "user/agent").push()
    done = clwm("preview", "user/agent", "--task", 0, "--store", collected, "--out", "a.png")
    assert (done.returncode, done.stdout) == (0, "a.png: 1 episode\n"), done.stderr
    done = clwm("preview", "user/agent", "--task", 7, "--protocol", "zero-shot", "--out", "b.png")
    assert (done.returncode, done.stdout) == (0, "b.png: 1 episode\n"), done.stderr
    done = clwm("preview", "user/nobody", "--out", "c.png")
    assert (done.returncode, done.stdout) == (1, "")
    assert "user/nobody" in done.stderr.splitlines()[-1]
