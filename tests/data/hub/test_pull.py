from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections import namedtuple
from dataclasses import replace
from pathlib import Path

import pytest

from clwm_data.errors import ClwmError
from clwm_data.hub.published import find_one
from clwm_data.hub.pull import pull
from clwm_data.hub.reference import parse_reference
from clwm_data.store import open_store
from clwm_data.store.lock import locked
from clwm_data.store.reader import Store
from clwm_data.store.validate import validate
from clwm_data.store.writer import root_sha256, write_root
from tests.data.hub.conftest import files_of, publish
from tests.data.test_hostile_store import change_root, claim_shape_and_chunks, little_memory, task_record
from tests.data.test_validate import rewritten
from tests.hub_repository import Repository
from tests.hub_server import Fault, HubServer

#: A large file of task 6, and downloads of any.
REWARD = r"resolve/.*/tasks/0006/reward/c\.0"
CHUNKS = r"resolve/.*/tasks/.*/c\."


def download(out: Path, text: str = "user/data", **options: object) -> Store:
    return pull(find_one(parse_reference(text)), out, **options)  # type: ignore[arg-type]


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def travelled(hub: HubServer) -> set[str]:
    """Tasks of which files were downloaded."""
    return {path.split("/")[2] for path in hub.sent if "/tasks/" in path}


def test_a_pulled_store_is_the_published_one(
    hub: HubServer, published: Repository, collected: Path, tmp_path: Path
) -> None:
    store = download(tmp_path / "out.zarr")
    assert validate(store.path) == []
    ours, theirs = tree(store.path), tree(collected)
    assert ours.keys() == theirs.keys()
    assert {name for name in ours if ours[name] != theirs[name]} == {"zarr.json"}  # it knows its origin
    assert store.record.content_sha256 == open_store(collected).record.content_sha256
    assert store.missing_tasks == ()
    assert store.origin is not None
    assert (store.origin.repository, store.origin.store) == ("user/data", "tiny.zarr")
    assert store.origin.revision == published.refs["main"]
    assert store.origin.root_sha256 == open_store(collected).record.root_sha256


def test_only_the_chosen_tasks_travel_and_others_can_follow(
    hub: HubServer, published: Repository, tmp_path: Path
) -> None:
    out = tmp_path / "out.zarr"
    first = download(out, tasks="6")
    assert travelled(hub) == {"0006"}
    assert validate(out) == []
    assert (list(first.tasks), first.missing_tasks) == ([6], (0, 12))
    first.tasks[6].load(verify=True)

    hub.sent.clear()
    second = download(out, splits=["train"])
    assert travelled(hub) == {"0012"}
    assert (list(second.tasks), second.missing_tasks) == ([6, 12], (0,))

    hub.sent.clear()
    assert download(out).missing_tasks == ()
    assert travelled(hub) == {"0000"}
    assert validate(out) == []

    hub.sent.clear()
    before = tree(out)
    download(out)
    assert travelled(hub) == set()
    assert tree(out) == before


def test_metadata_files_are_rebuilt_from_the_root_and_not_asked_for(
    hub: HubServer, published: Repository, tmp_path: Path
) -> None:
    download(tmp_path / "out.zarr")
    assert [path for path in hub.sent if path.endswith("zarr.json")] == ["tiny.zarr/zarr.json"]


def test_metadata_files_in_another_style_are_downloaded(
    hub: HubServer, published: Repository, store_path: Path, tmp_path: Path
) -> None:
    group = store_path / "tasks/0006/zarr.json"
    group.write_text(json.dumps(json.loads(group.read_text()), indent=7))
    store = open_store(store_path)
    write_root(store_path, store.manifest, store.provenance)
    shutil.rmtree(store_path / ".collect", ignore_errors=True)
    published.change(files_of(store_path))
    download(tmp_path / "out.zarr")
    assert hub.sent["tiny.zarr/tasks/0006/zarr.json"] == group.stat().st_size
    assert validate(tmp_path / "out.zarr") == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"tasks": "1"}, "no task 1; there are 0,6,12"),
        ({"tasks": "x"}, "not an index"),
        ({"tasks": [3]}, "has no task 3; it has 0,6,12"),
        ({"splits": ["nowhere"]}, "no tasks of split 'nowhere'; it has train, id, ood"),
        ({"tasks": "0", "splits": ["train"]}, "no task is in both"),
    ],
)
def test_wrong_choices_are_told(
    hub: HubServer, published: Repository, tmp_path: Path, options: dict[str, object], words: str
) -> None:
    with pytest.raises(ClwmError, match=words):
        download(tmp_path / "out.zarr", **options)
    assert not (tmp_path / "out.zarr").exists()


def test_a_revision_is_pinned(
    hub: HubServer, published: Repository, store_path: Path, tmp_path: Path
) -> None:
    old = published.refs["v1"] = published.refs["main"]
    shutil.rmtree(store_path / "tasks/0006")
    store = open_store(store_path)
    write_root(store_path, store.manifest, store.provenance)
    shutil.rmtree(store_path / ".collect", ignore_errors=True)
    published.change({path: None for path in published.files() if "/0006/" in path})
    published.change(files_of(store_path))
    assert list(download(tmp_path / "new.zarr").tasks) == [0, 12]
    for number, revision in enumerate(("v1", old)):
        pulled = download(tmp_path / f"{number}.zarr", f"user/data@{revision}")
        assert list(pulled.tasks) == [0, 6, 12]
        assert pulled.origin is not None
        assert pulled.origin.revision == old


def test_two_versions_are_never_mixed(
    hub: HubServer, published: Repository, store_path: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.zarr"
    download(out, tasks="6")
    before = tree(out)
    change_and_publish(published, store_path)
    with pytest.raises(ClwmError, match=r"another version of user/data/tiny\.zarr .task 6 differs"):
        download(out)
    assert tree(out) == before


def change_and_publish(repository: Repository, store: Path) -> None:
    """Another version of the store: task 6 has its rewards doubled."""
    rewritten(store, lambda arrays: replace(arrays, reward=arrays.reward * 2))
    publish(repository, store)


def test_something_else_in_the_way_is_left_alone(
    hub: HubServer, published: Repository, store_path: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/x").write_text("x")
    other = Path(shutil.copytree(store_path, tmp_path / "other.zarr"))
    change_root(other, lambda root: root["attributes"]["manifest"].update(name="other"))
    extra = Path(shutil.copytree(store_path, tmp_path / "extra.zarr"))
    shutil.copytree(extra / "tasks/0006", extra / "tasks/0007")
    for path, words in [
        (tmp_path / "file", "is a file"),
        (tmp_path / "folder", "not a store"),
        (other, "holds the dataset other"),
        (extra, "holds task 7"),
    ]:
        before = tree(path) if path.is_dir() else {}
        with pytest.raises(ClwmError, match=words):
            download(path)
        assert (tree(path) if path.is_dir() else {}) == before


def test_a_damaged_task_is_downloaded_again(hub: HubServer, published: Repository, tmp_path: Path) -> None:
    out = tmp_path / "out.zarr"
    download(out)
    (out / "tasks/0006/action/c.0.0").write_bytes(b"x")
    (out / "tasks/0006/action/notes.txt").write_text("x")
    (out / "tasks/0012/zarr.json").write_text("{}")
    shutil.rmtree(out / "tasks/0000")
    hub.sent.clear()
    # Not only what was chosen: the root vouches for all.
    download(out, tasks="0")
    assert travelled(hub) == {"0000", "0006"}  # of task 12 only metadata was damaged
    assert [path for path in hub.sent if "0006" in path] == ["tiny.zarr/tasks/0006/action/c.0.0"]
    assert validate(out) == []


def test_another_process_is_writing(hub: HubServer, published: Repository, tmp_path: Path) -> None:
    out = tmp_path / "out.zarr"
    out.mkdir()
    with locked(out), pytest.raises(ClwmError, match="another process is writing to it"):
        download(out)


def test_too_little_space_is_told_before_anything_travels(
    hub: HubServer, published: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10, 5, 5))
    with pytest.raises(ClwmError, match="the disk has 5: free space, or choose fewer tasks"):
        download(tmp_path / "out.zarr")
    assert travelled(hub) == set()


# -- faults ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault",
    [
        Fault("GET", REWARD, drop="before"),
        Fault("GET", REWARD, drop="middle"),
        Fault("GET", CHUNKS, drop="middle", times=5),
        Fault("HEAD", REWARD, drop="before"),
        Fault("HEAD", REWARD, status=500),
        Fault("GET", REWARD, status=503),
        Fault("GET", CHUNKS, status=429, headers={"Retry-After": "7"}, times=3),
        Fault("GET", "/api/datasets/user/data", status=502),
        Fault("GET", "/tree/", status=500, times=3),
        Fault("POST", "/paths-info/", status=429, headers={"Retry-After": "7"}),
        Fault("GET", REWARD, alter=lambda body: body[:-10]),
        Fault("GET", REWARD, alter=lambda body: bytes([body[0] ^ 1]) + body[1:]),
        Fault("HEAD", REWARD, alter=lambda body: body[:-10]),
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


# -- a repository that lies --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "content", "words"),
    [
        ("tasks/0006/reward/c.0", None, "0006/reward/c.0: is missing: its upload is not complete"),
        ("tasks/0006/reward/c.0", b"short", "has 5 bytes, the store says 800"),
        ("tasks/0006/reward/c.0", bytes(10**6), "has 1000000 bytes, the store says 800"),
        ("tasks/0006/zarr.json", b"{}", "tasks/0006"),
        ("zarr.json", None, "has no zarr.json: its upload is not complete"),
        ("zarr.json", b"[]", "expected a JSON object"),
        ("zarr.json", b"{" * 10**5, "is damaged"),
    ],
)
def test_a_repository_that_does_not_hold_what_the_root_says(
    hub: HubServer, published: Repository, tmp_path: Path, path: str, content: bytes | None, words: str
) -> None:
    published.change({f"tiny.zarr/{path}": content})
    with pytest.raises(ClwmError, match=words):
        download(tmp_path / "out.zarr")
    assert hub.sent.get("tiny.zarr/tasks/0006/reward/c.0", 0) in (0, 800)  # nothing of the wrong size travels


@pytest.mark.parametrize(
    "path", ["../../../outside", "reward/../../../outside", "/tmp/outside", "reward/..\\x"]
)
def test_paths_that_leave_the_target_folder_are_refused(
    hub: HubServer, published: Repository, store_path: Path, tmp_path: Path, path: str
) -> None:
    """Both in the store's own list of files and in what the server lists."""
    digest = {"bytes": 1, "sha256": "0" * 64}

    def escape(root: dict[str, object]) -> None:
        task_record(root)["files"][path] = digest
        root["attributes"]["root_sha256"] = root_sha256(root)  # type: ignore[index]

    change_root(store_path, escape)
    published.change(files_of(store_path))
    published.change({f"tiny.zarr/tasks/0006/{path}": b"x", f"tiny.zarr/{path}": b"x"})
    out = tmp_path / "deep/er/out.zarr"
    with pytest.raises(ClwmError, match="attribute files"):
        download(out)
    assert not list(tmp_path.rglob("outside"))
    assert not Path("/tmp/outside").exists()


def test_files_beside_those_of_the_store_do_not_travel(
    hub: HubServer, published: Repository, tmp_path: Path
) -> None:
    published.change(
        {
            "tiny.zarr/tasks/0006/reward/evil.pkl": b"x",
            "tiny.zarr/tasks/0006/../../../escaped": b"x",
            "tiny.zarr/setup.py": b"x",
            "loader.py": b"x",
        }
    )
    download(tmp_path / "out.zarr")
    assert validate(tmp_path / "out.zarr") == []
    assert not any("evil" in path or path.endswith(".py") or "escaped" in path for path in hub.sent)


def test_an_altered_root_is_refused(
    hub: HubServer, published: Repository, store_path: Path, tmp_path: Path
) -> None:
    change_root(store_path, lambda root: root["attributes"]["manifest"].update(seed=7))
    published.change(files_of(store_path))
    with pytest.raises(ClwmError, match="was altered: it differs from its own digest"):
        download(tmp_path / "out.zarr")


def test_a_store_that_claims_ten_terabytes_is_refused_before_anything_travels(
    hub: HubServer, published: Repository, store_path: Path, tmp_path: Path
) -> None:
    def claim(root: dict[str, object]) -> None:
        claim_shape_and_chunks(root)
        root["attributes"]["root_sha256"] = root_sha256(root)  # type: ignore[index]

    change_root(store_path, claim)
    published.change(files_of(store_path))
    with little_memory(), pytest.raises(ClwmError, match=r"chunks of \d+ bytes are larger"):
        download(tmp_path / "out.zarr")
    assert travelled(hub) == set()


def test_a_store_that_claims_larger_files_than_the_repository_has(
    hub: HubServer, published: Repository, store_path: Path, tmp_path: Path
) -> None:
    def claim(root: dict[str, object]) -> None:
        task_record(root)["files"]["reward/c.0"]["bytes"] = 10**13
        root["attributes"]["root_sha256"] = root_sha256(root)  # type: ignore[index]

    change_root(store_path, claim)
    published.change(files_of(store_path))
    with pytest.raises(ClwmError, match="has 800 bytes, the store says 10000000000000"):
        download(tmp_path / "out.zarr")
    assert travelled(hub) == set()
