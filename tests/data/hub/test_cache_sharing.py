"""One cache, many readers: processes, threads, workers, and no way to the Hub."""

from __future__ import annotations

import logging
import multiprocessing
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from huggingface_hub import constants

from clwm_data.cache import cache_root, waiting_lock
from clwm_data.errors import ConflictError, NotFoundError, UnavailableError
from clwm_data.hub.cache import cached_store, open_remote
from clwm_data.hub.reference import parse_reference
from clwm_data.opening import open_store
from clwm_data.store import Store, cached
from tests.conftest import Clwm
from tests.hub_repository import Repository
from tests.hub_server import Fault, HubServer

DATA = parse_reference("user/data")
READ = "import sys, clwm_data; print(clwm_data.open_store(sys.argv[1]).to_arrays()['reward'].sum())"
COMPLETE = """
import sys
from clwm_data.hub.cache import cached_store
from clwm_data.hub.reference import parse_reference
print(cached_store(parse_reference(sys.argv[1])))
"""


def snapshot(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*")}


@pytest.mark.parametrize("code", [READ, COMPLETE], ids=["lazily", "completely"])
def test_processes_that_begin_together_all_get_it_and_download_it_once(
    hub: HubServer, published: Repository, collected: Path, code: str
) -> None:
    command = [sys.executable, "-c", code, "user/data"]
    processes = [
        subprocess.Popen(command, env=os.environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    answers = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], answers
    assert len({out for out, _ in answers}) == 1
    for path, size in hub.sent.items():
        if "/tasks/" in path:
            assert size == (collected.parent / path).stat().st_size, path


def test_threads(hub: HubServer, published: Repository) -> None:
    store = open_store("user/data")
    with ThreadPoolExecutor(8) as pool:
        sums = list(pool.map(lambda index: store.tasks[index].load().reward.sum(), [0, 6, 12] * 8))
    assert sums[:3] * 8 == sums


def read(store: Store, index: int) -> float:
    return float(store.tasks[index].load().reward.sum())


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers(hub: HubServer, published: Repository, method: str) -> None:
    """As those of a DataLoader: the store travels to them, by fork or pickled."""
    store = open_store("user/data")
    with multiprocessing.get_context(method).Pool(2) as pool:
        sums = pool.starmap(read, [(store, index) for index in (0, 6, 12)])
    assert sums == [read(store, index) for index in (0, 6, 12)]


def test_a_remote_store_can_be_pickled(hub: HubServer, published: Repository) -> None:
    store = open_store("user/data")
    store.tasks[6].load()
    copy = pickle.loads(pickle.dumps(store))
    assert copy.to_arrays()["reward"].sum() == store.to_arrays()["reward"].sum()
    assert pickle.loads(pickle.dumps(copy.tasks[6])).load().transitions == 200


def test_a_complete_cache_is_read_without_a_lock_and_without_writing(
    hub: HubServer, published: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = cached_store(DATA)
    before = snapshot(cache_root())

    def forbidden(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(cached, "waiting_lock", forbidden)
    with waiting_lock(path.with_name("lock"), "somebody else's download"):
        assert cached_store(DATA) == path
        assert open_store("user/data").to_arrays()["reward"].shape == (600,)
    after = snapshot(cache_root())
    del before[str(path.with_name("lock"))], after[str(path.with_name("lock"))]
    assert after == before


def test_whoever_waits_is_told(
    hub: HubServer, published: Repository, caplog: pytest.LogCaptureFixture
) -> None:
    store, arrived = open_remote(DATA), threading.Event()
    with ThreadPoolExecutor(1) as pool, caplog.at_level(logging.WARNING, logger="clwm_data.cache"):
        with waiting_lock(store.path.with_name("lock"), "a test"):
            waiting = pool.submit(lambda: (arrived.set(), store.tasks[6].load())[1])
            arrived.wait()
            while not caplog.records:
                pass
            assert not waiting.done()
        assert waiting.result().transitions == 200
    assert caplog.messages == [
        "downloading user/data/tiny.zarr: another process does that already: waiting for it"
    ]


def test_waiting_ends(tmp_path: Path) -> None:
    with (
        waiting_lock(tmp_path / "lock", "a test"),
        pytest.raises(ConflictError, match=r"downloading user/data: another process .*lock"),
        waiting_lock(tmp_path / "lock", "downloading user/data", seconds=0.1),
    ):
        pytest.fail("two hold the lock")


def test_a_cache_that_cannot_be_written(
    hub: HubServer, published: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLWM_CACHE", "/dev/null/cache")
    store = open_store("user/data")  # a look needs none
    with pytest.raises(UnavailableError, match=r"downloading user/data/tiny.zarr: /dev/null.*CLWM_CACHE"):
        store.tasks[6].load()


def test_a_pull_needs_no_home(
    clwm: Clwm, hub: HubServer, published: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HOME", "HF_HOME", "CLWM_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, "/dev/null/none")
    for name in ("HF_HUB_CACHE", "HF_ASSETS_CACHE"):
        monkeypatch.delenv(name)
    done = clwm("pull", "user/data", "--out", "here.zarr")
    assert (done.returncode, done.stderr) == (0, "")
    done = clwm("validate", "here.zarr")
    assert done.returncode == 0, done.stderr


# -- no way to the Hub ---------------------------------------------------------------------------------------


def offline(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)


def unplugged(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.faults.append(Fault("GET", "/", drop="before", times=10**6))


def broken(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.faults.append(Fault("GET", "/", status=503, times=10**6))


Trouble = Callable[[HubServer, pytest.MonkeyPatch], None]
TROUBLES = [offline, unplugged, broken]


@pytest.mark.parametrize("trouble", TROUBLES)
@pytest.mark.parametrize("text", ["user/data@v1", "user/data", "hf://datasets/user/data@v1/tiny.zarr"])
def test_what_was_downloaded_is_used(
    hub: HubServer, published: Repository, monkeypatch: pytest.MonkeyPatch, trouble: Trouble, text: str
) -> None:
    published.refs["v1"] = published.refs["main"]
    whole = open_store(text).to_arrays()["reward"]  # task by task, never pulled
    trouble(hub, monkeypatch)
    assert (open_store(text).to_arrays()["reward"] == whole).all()
    assert (open_store(cached_store(parse_reference(text))).to_arrays()["reward"] == whole).all()


def test_every_spelling_of_what_was_downloaded(
    hub: HubServer, published: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = published.refs["main"]
    cached_store(DATA)
    offline(hub, monkeypatch)
    for text in ("user/data", f"user/data@{commit}", "hf://datasets/user/data/tiny.zarr", "user/data@main"):
        assert open_remote(parse_reference(text)).tasks[6].load().transitions == 200
    with pytest.raises(UnavailableError, match=r"user/data@v9: HF_HUB_OFFLINE is set.*not downloaded before"):
        open_store("user/data@v9")
    with pytest.raises(NotFoundError, match=r"no such store; the repository holds: tiny.zarr"):
        open_store("hf://datasets/user/data/other.zarr")


@pytest.mark.parametrize("trouble", TROUBLES)
def test_a_task_that_was_not_downloaded_is_missed_in_one_line(
    hub: HubServer, published: Repository, monkeypatch: pytest.MonkeyPatch, trouble: Trouble
) -> None:
    open_store("user/data").tasks[6].load()
    trouble(hub, monkeypatch)
    store = open_store("user/data")
    assert store.tasks[6].load().transitions == 200
    with pytest.raises(UnavailableError) as caught:
        store.tasks[12].load()
    assert "\n" not in str(caught.value)


def test_a_commit_is_asked_for_once(hub: HubServer, published: Repository) -> None:
    text = f"user/data@{published.refs['main']}"
    open_store(text).to_arrays()
    hub.log.clear()
    open_store(text).to_arrays()
    assert hub.log == []


def test_the_user_is_told_that_it_may_be_outdated(
    hub: HubServer, published: Repository, caplog: pytest.LogCaptureFixture
) -> None:
    cached_store(DATA)
    hub.faults.append(Fault("GET", "/", drop="before", times=10**6))
    with caplog.at_level(logging.WARNING, logger="clwm_data.hub.published"):
        open_store("user/data")
    assert caplog.messages == [
        "hf://datasets/user/data: the Hub cannot be asked: what was downloaded before is used"
    ]
