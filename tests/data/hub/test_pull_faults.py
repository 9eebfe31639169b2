from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from clwm_data.errors import ClwmError
from clwm_data.hub.client import WAITS
from clwm_data.opening import open_store
from clwm_data.store.validate import validate
from tests.data.hub.pulling import CHUNKS, REWARD, download, travelled
from tests.hub_repository import Repository
from tests.hub_server import Fault, HubServer


@pytest.mark.parametrize(
    "fault",
    [
        Fault("GET", REWARD, drop="before"),
        Fault("GET", REWARD, drop="middle"),
        Fault("GET", CHUNKS, drop="middle", times=len(WAITS)),  # of any files: all may meet the same one
        Fault("GET", REWARD, status=503),
        Fault("GET", CHUNKS, status=429, headers={"Retry-After": "7"}, times=len(WAITS)),
        Fault("GET", "/api/datasets/user/data", status=502),
        Fault("GET", "/tree/", status=500, times=3),
        Fault("POST", "/paths-info/", status=429, headers={"Retry-After": "7"}),
        Fault("GET", REWARD, alter=lambda body: body[:-10]),
        Fault("GET", REWARD, alter=lambda body: bytes([body[0] ^ 1]) + body[1:]),
    ],
    ids=lambda fault: f"{fault.method}-{fault.status or fault.drop or 'altered'}",
)
def test_passing_faults_are_survived(
    hub: HubServer, published: Repository, tmp_path: Path, waits: list[float], fault: Fault
) -> None:
    hub.faults.append(fault)
    store = download(tmp_path / "out.zarr")
    assert fault.times == 0
    assert validate(store.path) == []
    assert store.missing_tasks == ()
    if "Retry-After" in fault.headers:
        assert max(waits) >= 7  # as long as the server asked for


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (Fault("GET", REWARD, drop="middle", times=99), "cannot be reached: check the network"),
        (Fault("GET", REWARD, status=500, times=99), "the Hub has a problem"),
        (Fault("GET", REWARD, alter=lambda body: body[:-10], times=99), "arrives incomplete"),
        (
            Fault("GET", REWARD, alter=lambda body: bytes([body[0] ^ 1]) + body[1:], times=99),
            "0006/reward/c.0: what arrives does not have the published digest",
        ),
    ],
)
def test_an_interrupted_pull_never_passes_as_complete_and_resumes(
    hub: HubServer, published: Repository, tmp_path: Path, fault: Fault, words: str
) -> None:
    out = tmp_path / "out.zarr"
    hub.faults.append(fault)
    with pytest.raises(ClwmError, match=words) as caught:
        download(out)
    assert "\n" not in str(caught.value)
    store = open_store(out)
    assert (list(store.tasks), store.missing_tasks) == ([0], (6, 12))
    assert (out / ".collect").is_dir()
    assert validate(out) == []

    hub.faults.clear()
    hub.sent.clear()
    assert download(out).missing_tasks == ()
    assert "0000" not in travelled(hub)
    assert "tiny.zarr/tasks/0006/action/c.0.0" not in hub.sent  # it was there and sound
    assert validate(out) == []
    assert not (out / ".collect").exists()


def test_a_killed_pull_resumes(hub: HubServer, published: Repository, tmp_path: Path) -> None:
    """SIGKILL at several moments of a download that is held up by the server."""
    out = tmp_path / "out.zarr"
    code = "from clwm_cli.main import main; main()"
    command = [sys.executable, "-c", code, "pull", "user/data", "--out", str(out)]
    for seen in (1, 20):
        hub.log.clear()
        hub.faults = [Fault("GET", CHUNKS, then=lambda: time.sleep(0.02), times=10**6)]
        process = subprocess.Popen(command, env=os.environ, stderr=subprocess.PIPE)
        while len(hub.requests("GET", CHUNKS)) < seen and process.poll() is None:
            time.sleep(0.002)
        process.kill()
        process.communicate()
        if (out / "zarr.json").exists():
            assert validate(out) == []
    hub.faults.clear()
    assert download(out).missing_tasks == ()
    assert validate(out) == []


@pytest.mark.parametrize("status", [206, 200])
def test_a_file_that_breaks_off_is_continued(
    hub: HubServer, published: Repository, tmp_path: Path, status: int
) -> None:
    """From where it broke off, or from the start by a server that knows no ranges."""
    hub.ranges = status == 206
    path = "tiny.zarr/tasks/0006/reward/c.0"
    size = len(published.files()[path])
    hub.faults.append(Fault("GET", REWARD, drop="middle"))
    store = download(tmp_path / "out.zarr")
    assert hub.sent[path] == (size + size - size // 2 if status == 206 else 2 * size)
    assert validate(store.path) == []
    assert not list(store.path.rglob("*.partial"))
