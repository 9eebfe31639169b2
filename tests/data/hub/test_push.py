from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from clwm_data.errors import ClwmError
from clwm_data.hub.install import install_line
from clwm_data.hub.publication import Publication, Pushed
from clwm_data.hub.published import find_one, find_published
from clwm_data.hub.pull import download
from clwm_data.hub.push import publish_store
from clwm_data.hub.reference import parse_reference
from clwm_data.manifest import load_manifest
from clwm_data.opening import open_store
from clwm_data.store.root_writer import write_root
from clwm_data.store.validate import validate
from tests.conftest import tree
from tests.data.hub.conftest import files_of, publish
from tests.data.hub.pulling import change_and_publish
from tests.data.store.test_hostile_store import change_root
from tests.data.store.test_validate import rewritten
from tests.hub_repository import Repository
from tests.hub_server import READ_TOKEN, Fault, HubServer

COMMIT = "/commit/"


def push(store: Path, branch: str | None = None, **options: object) -> Pushed:
    return publish_store(store, "user/data", branch).push(**options)  # type: ignore[arg-type]


def small(publication: Publication, files: int) -> Publication:
    """The same in commits of so many files."""
    return replace(publication, batch_files=files)


@pytest.fixture
def other_store(store_path: Path) -> Path:
    """A second, smaller store, of another name and licence."""
    other = Path(shutil.copytree(store_path, store_path.with_name("other.zarr")))
    store = open_store(other)
    shutil.rmtree(other / "tasks/0006")
    manifest = store.manifest.model_copy(update={"name": "other", "licence": "MIT", "description": "second"})
    write_root(other, manifest, store.provenance)
    shutil.rmtree(other / ".collect", ignore_errors=True)
    return other


def test_what_is_pushed_can_be_pulled(hub: HubServer, collected: Path, tmp_path: Path) -> None:
    done = push(collected, tag="v1")
    repository = hub.dataset()
    assert done.url == f"{hub.endpoint}/datasets/user/data"
    assert repository.refs["v1"] == repository.refs["main"] == done.commit
    theirs = {path: text for path, text in repository.files().items() if path.startswith("tiny.zarr/")}
    assert theirs == files_of(collected)
    assert {path for path in repository.files() if "/" not in path} == {
        ".gitattributes",
        "README.md",
        "tiny.svg",
        "tiny.yaml",
    }
    pulled = download(find_one(parse_reference("user/data@v1")), tmp_path / "out.zarr")
    assert validate(pulled.path) == []
    assert pulled.record.content_sha256 == open_store(collected).record.content_sha256


def test_the_published_manifest_makes_the_data_again(hub: HubServer, collected: Path, tmp_path: Path) -> None:
    push(collected)
    (tmp_path / "tiny.yaml").write_bytes(hub.dataset().files()["tiny.yaml"])
    assert load_manifest(str(tmp_path / "tiny.yaml")).same_data_as(open_store(collected).manifest)


def test_all_in_one_commit_where_it_fits(hub: HubServer, store_path: Path) -> None:
    """So that readers of the branch never meet new data under an old root."""
    push(store_path, tag="v1")
    assert len(hub.dataset().trees) == 2  # the initial one, and ours
    hub.log.clear()
    rewritten(store_path, lambda arrays: replace(arrays, episode_seed=arrays.episode_seed + 1))
    push(store_path)
    assert len(hub.dataset().trees) == 3


def test_else_data_first_then_what_makes_it_a_whole_then_the_tag(hub: HubServer, collected: Path) -> None:
    small(publish_store(collected, "user/data"), 30).push(tag="v1")
    repository = hub.dataset()
    trees = list(repository.trees.values())[1:]  # after the initial commit
    assert len(trees) == 4
    for tree_ in trees[:-1]:
        assert not any(path in tree_ for path in ("tiny.zarr/zarr.json", "README.md", "tiny.yaml"))
    assert {"tiny.zarr/zarr.json", "README.md", "tiny.yaml", "tiny.svg"} <= trees[-1].keys()
    assert hub.log[-1] == ("POST", f"/api/datasets/user/data/tag/{repository.refs['main']}")


def test_only_what_changed_is_uploaded(hub: HubServer, store_path: Path) -> None:
    push(store_path)
    commits = len(hub.dataset().trees)
    again = push(store_path)
    assert (again.files, again.bytes) == (0, 0)
    assert len(hub.dataset().trees) == commits

    def double(arrays: object) -> object:
        return replace(arrays, reward=arrays.reward * 2)  # type: ignore[attr-defined,type-var]

    rewritten(store_path, double)  # type: ignore[arg-type]
    # The returns that are stored no longer fit the rewards, so it may not be pushed as it is.
    with pytest.raises(ClwmError, match="return is not the sum"):
        push(store_path)


def test_changed_and_vanished_files(hub: HubServer, store_path: Path, tmp_path: Path) -> None:
    push(store_path)
    store = open_store(store_path)
    shutil.rmtree(store_path / "tasks/0006")
    write_root(store_path, store.manifest, store.provenance)
    shutil.rmtree(store_path / ".collect", ignore_errors=True)
    publication = publish_store(store_path, "user/data")
    plan = publication.plan()
    deleted = {file.path for file in plan.files if file.state == "deleted"}
    assert deleted == {path for path in hub.dataset().files() if "/0006/" in path or "/id-" in path}
    assert {file.path for file in plan.uploads} == {"tiny.zarr/zarr.json", "README.md", "tiny.svg"}
    done = publication.push(replace=True)
    assert done.deleted == len(deleted) > 0
    assert not any("/0006/" in path for path in hub.dataset().files())
    assert list(download(find_one(parse_reference("user/data")), tmp_path / "o.zarr").tasks) == [0, 12]


def test_an_unfinished_store_is_not_pushed(hub: HubServer, store_path: Path) -> None:
    (store_path / ".collect").mkdir()
    with pytest.raises(ClwmError, match="collection or download is not finished"):
        push(store_path)
    shutil.rmtree(store_path / ".collect")
    (store_path / "tasks/0006/reward/c.0").write_bytes(bytes(800))
    with pytest.raises(ClwmError, match=r"not pushed: .*0006/reward/c.0: was altered.*clwm validate"):
        push(store_path)
    assert hub.log == []


def test_several_stores_in_one_repository(
    hub: HubServer, collected: Path, other_store: Path, tmp_path: Path
) -> None:
    push(collected)
    push(other_store)
    found = find_published(parse_reference("user/data"))
    assert [store.folder for store in found] == ["other.zarr", "tiny.zarr"]
    with pytest.raises(
        ClwmError, match=r"holds several stores, name one of them: .*/other.zarr, .*/tiny.zarr"
    ):
        find_one(parse_reference("user/data"))
    pulled = download(find_one(parse_reference("user/data/other.zarr")), tmp_path / "o.zarr")
    assert (pulled.name, list(pulled.tasks), pulled.missing_tasks) == ("other", [0, 12], (6,))
    with pytest.raises(ClwmError, match=r"no such store; the repository holds: other.zarr, tiny.zarr"):
        find_one(parse_reference("user/data/x.zarr"))
    card = hub.dataset().files()["README.md"].decode()
    for words in ("## other", "## tiny", "other.svg", "tiny.svg", "task 6"):
        assert words in card
    assert f"import clwm_data  # {install_line()}\n" in card
    assert "# pip install clwm" not in card, "the package index does not have it yet"
    front = yaml.safe_load(card.split("---")[1])
    assert front["license"] == ["cc0-1.0", "mit"]


def test_a_branch(hub: HubServer, collected: Path, tmp_path: Path) -> None:
    hub.add("user/data")
    done = push(collected, branch="draft")
    repository = hub.dataset()
    assert repository.refs["draft"] == done.commit != repository.refs["main"]
    assert set(repository.files("main")) == {".gitattributes"}
    assert find_one(parse_reference("user/data@draft")).indices == (0, 6, 12)
    assert push(collected, branch="draft").files == 0


def test_private(hub: HubServer, collected: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    push(collected, private=True)
    assert hub.dataset().private
    push(collected, private=True)
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(ClwmError, match=r"does not accept the login|no such repository"):
        find_one(parse_reference("user/data"))


def test_private_does_not_pass_over_a_public_repository(hub: HubServer, collected: Path) -> None:
    hub.add("user/data")
    with pytest.raises(ClwmError, match="is public already"):
        push(collected, private=True)
    assert not hub.requests("POST", COMMIT)


def test_a_taken_tag_is_refused_before_anything_is_uploaded(hub: HubServer, store_path: Path) -> None:
    push(store_path, tag="v1")
    first = hub.dataset().refs["v1"]
    assert push(store_path, tag="v1").commit == first  # the same again is fine
    hub.dataset().change({"README.md": b"by hand"})
    uploads = len(hub.requests("POST", COMMIT))
    with pytest.raises(ClwmError, match="tag v1 points to something else: choose another --tag"):
        push(store_path, tag="v1")
    assert len(hub.requests("POST", COMMIT)) == uploads
    assert hub.dataset().refs["v1"] == first


# -- faults ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault",
    [
        Fault("PUT", "/large/", drop="middle", times=3),
        Fault("PUT", "/large/", drop="before", times=3),
        Fault("PUT", "/large/", status=500, times=3),
        Fault("PUT", "/large/", status=429, headers={"Retry-After": "9"}, times=2),
        Fault("POST", COMMIT, drop="middle"),
        Fault("POST", COMMIT, status=500),
        Fault("POST", COMMIT, status=429, headers={"Retry-After": "9"}),
        Fault("POST", COMMIT, status=409),
        Fault("POST", COMMIT, status=412),
        Fault("POST", "/preupload/", status=503),
        Fault("POST", "/objects/batch", status=502),
        Fault("POST", "/api/repos/create", status=500),
        Fault("POST", "/tag/", status=500),
        Fault("POST", "/tag/", drop="before"),
        Fault("GET", "/refs", drop="middle"),
    ],
    ids=lambda fault: f"{fault.path.strip('/').replace('/', '-')}-{fault.status or fault.drop}",
)
def test_passing_faults_are_survived(
    hub: HubServer, collected: Path, waits: list[float], fault: Fault
) -> None:
    hub.faults.append(fault)
    done = push(collected, tag="v1")
    assert fault.times == 0
    repository = hub.dataset()
    theirs = {path: text for path, text in repository.files("v1").items() if path.startswith("tiny.zarr/")}
    assert theirs == files_of(collected)
    assert repository.refs["main"] == done.commit
    if "Retry-After" in fault.headers:
        assert max(waits) >= 9


@pytest.mark.parametrize("which", ["first commit", "last commit", "tag", "uploads"])
def test_an_interrupted_push_resumes(hub: HubServer, collected: Path, which: str) -> None:
    fault = {
        "first commit": Fault("POST", COMMIT, status=500, times=99),
        "last commit": Fault("POST", COMMIT, times=2, then=lambda: last.__setattr__("times", 99)),
        "tag": Fault("POST", "/tag/", status=500, times=99),
        "uploads": Fault("PUT", "/large/", drop="middle", times=10**6),
    }[which]
    last = Fault("POST", COMMIT, status=500, times=0)
    hub.faults += [fault, last]
    with pytest.raises(ClwmError, match="run the same command again"):
        small(publish_store(collected, "user/data"), 40).push(tag="v1")
    assert "v1" not in hub.dataset().refs
    published = "tiny.zarr/zarr.json" in hub.dataset().files()
    assert published == (which == "tag")  # half a store never has a root

    hub.faults.clear()
    hub.log.clear()
    there = set(hub.large)
    done = small(publish_store(collected, "user/data"), 40).push(tag="v1")
    assert hub.dataset().refs["v1"] == done.commit
    assert not there & {
        path.split("/")[-1] for path in hub.requests("PUT", "/large/")
    }  # nothing is sent twice
    if which == "tag":
        assert done.files == 0
    theirs = {path: text for path, text in hub.dataset().files().items() if path.startswith("tiny.zarr/")}
    assert theirs == files_of(collected)


def test_two_who_push_at_the_same_time_both_arrive(
    hub: HubServer, collected: Path, other_store: Path
) -> None:
    """Somebody publishes another store just before the last commit: the card must show both."""
    hub.add("user/data")

    def somebody_else() -> None:
        publish(hub.dataset(), other_store)

    hub.faults.append(Fault("POST", "/api/validate-yaml", then=somebody_else))
    push(collected)
    files = hub.dataset().files()
    assert {"other.zarr/zarr.json", "tiny.zarr/zarr.json"} <= files.keys()
    assert "## other" in files["README.md"].decode()
    assert "## tiny" in files["README.md"].decode()


def test_a_conflict_that_does_not_end(hub: HubServer, collected: Path) -> None:
    hub.faults.append(Fault("POST", COMMIT, status=412, times=99))
    with pytest.raises(ClwmError, match="was changed by somebody else meanwhile: run the same command again"):
        push(collected)


def test_a_lost_answer_to_a_commit_does_no_harm(hub: HubServer, collected: Path) -> None:
    """The commit was made, and the connection broke before the answer came."""
    hub.faults.append(Fault("POST", COMMIT, drop="answer", times=2))
    push(collected)
    theirs = {path: text for path, text in hub.dataset().files().items() if path.startswith("tiny.zarr/")}
    assert theirs == files_of(collected)


def test_readers_see_an_update_only_when_it_is_whole(
    hub: HubServer, published: Repository, store_path: Path, tmp_path: Path
) -> None:
    """A reader in the middle of an update is told; the reader of a tag sees nothing of it."""
    published.refs["v1"] = published.refs["main"]
    old_root = published.files()["tiny.zarr/zarr.json"]
    change_and_publish(published, store_path)
    published.change({"tiny.zarr/zarr.json": old_root})
    with pytest.raises(ClwmError, match="does not have the published digest"):
        download(find_one(parse_reference("user/data")), tmp_path / "a.zarr")
    download(find_one(parse_reference("user/data@v1")), tmp_path / "b.zarr")
    assert validate(tmp_path / "b.zarr") == []


# -- plans, rights, secrets --------------------------------------------------------------------------------


def test_a_plan_lists_files_and_bytes_and_changes_nothing(hub: HubServer, collected: Path) -> None:
    plan = publish_store(collected, "user/data").plan()
    assert hub.repositories == {}
    listed = {file.path: file.bytes for file in plan.files}
    for path, text in files_of(collected).items():
        assert text is not None
        assert listed[path] == len(text)
    assert {file.state for file in plan.files} == {"new"}
    push(collected)
    assert publish_store(collected, "user/data").plan().is_empty


@pytest.mark.parametrize(
    ("token", "words"),
    [
        (None, "does not accept the login: `hf auth login`, or set HF_TOKEN"),
        (READ_TOKEN, "forbids this to your login: use a token with the right to do it"),
        ("hf_WrongWrongWrong", "does not accept the login"),
    ],
)
def test_without_the_right_to_write(
    hub: HubServer, collected: Path, monkeypatch: pytest.MonkeyPatch, token: str | None, words: str
) -> None:
    monkeypatch.delenv("HF_TOKEN")
    if token is not None:
        monkeypatch.setenv("HF_TOKEN", token)
    hub.add("user/data")
    with pytest.raises(ClwmError, match=words) as caught:
        push(collected)
    assert "hf_" not in str(caught.value).replace("hf_...", "")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "name", ["data", "user/data/x.zarr", "user/data@v1", "user/..", "-/x", "a/b/c", "user/d ta"]
)
def test_names_that_are_none(hub: HubServer, collected: Path, name: str) -> None:
    with pytest.raises(ClwmError, match="name"):
        publish_store(collected, name)
    assert hub.log == []


def test_a_partial_store_can_be_pushed_and_says_what_it_lacks(
    hub: HubServer, published: Repository, tmp_path: Path
) -> None:
    part = download(find_one(parse_reference("user/data")), tmp_path / "tiny.zarr", tasks="6")
    publish_store(part.path, "user/part").push()
    assert find_one(parse_reference("user/part")).indices == (6,)
    card = hub.repositories["dataset", "user/part"].files()["README.md"].decode()
    assert "| not included | tasks 0,12 |" in card


def test_an_alien_store_in_the_repository_stops_a_push(
    hub: HubServer, store_path: Path, other_store: Path
) -> None:
    push(store_path)
    change_root(other_store, lambda root: root["attributes"].update(format_version=99))
    publish(hub.dataset(), other_store)
    with pytest.raises(ClwmError, match=r"user/data/other.zarr: store has format version 99"):
        push(store_path)
    half = {
        path: text for path, text in files_of(other_store).items() if not path.endswith(".zarr/zarr.json")
    }
    hub.dataset().change(dict.fromkeys(files_of(other_store)))
    hub.dataset().change(half)
    push(store_path)  # somebody's unfinished push is not our business


def test_a_pushed_pull_keeps_its_origin(hub: HubServer, published: Repository, tmp_path: Path) -> None:
    pulled = download(find_one(parse_reference("user/data")), tmp_path / "tiny.zarr")
    publish_store(pulled.path, "user/copy").push()
    root = json.loads(hub.repositories["dataset", "user/copy"].files()["tiny.zarr/zarr.json"])
    assert root["attributes"]["origin"]["repository"] == "user/data"
    assert tree(pulled.path).keys() == {path.removeprefix("tiny.zarr/") for path in files_of(pulled.path)}
