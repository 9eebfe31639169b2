from __future__ import annotations

import json
import shutil
from collections import namedtuple
from pathlib import Path

import pytest

from clwm_data.errors import ClwmError
from clwm_data.opening import open_store
from clwm_data.store.lock import locked
from clwm_data.store.root_writer import write_root
from clwm_data.store.validate import validate
from tests.conftest import tree
from tests.data.hub.conftest import files_of
from tests.data.hub.pulling import change_and_publish, download, travelled
from tests.data.store.test_hostile_store import change_root
from tests.hub_repository import Repository
from tests.hub_server import HubServer


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
    first = download(out, tasks=6)
    assert travelled(hub) == {"0006"}
    assert validate(out) == []
    assert (list(first.tasks), first.missing_tasks) == ([6], (0, 12))
    first.tasks[6].load(verify=True)

    hub.sent.clear()
    second = download(out, splits="train")
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
