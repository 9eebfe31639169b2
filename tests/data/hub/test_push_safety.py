"""A push loses nothing that is published, credits the right people, and tells nothing of this machine."""

from __future__ import annotations

import getpass
import json
import shutil
import socket
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from huggingface_hub import lfs

import clwm_data.hub.outgoing as outgoing
import clwm_data.hub.plan as plan
from clwm_data.edit import select
from clwm_data.errors import ConflictError, DamagedDataError, InvalidInputError, UnavailableError
from clwm_data.hub.outgoing import NOBODY
from clwm_data.hub.publication import Pushed
from clwm_data.hub.pull import pull
from clwm_data.hub.push import publish_store, push
from clwm_data.opening import open_store
from clwm_data.store.command_line import without_folders
from clwm_data.store.root_writer import write_root
from clwm_data.store.validate import validate
from tests.conftest import Clwm
from tests.data.hub.conftest import files_of, publish
from tests.data.store.test_hostile_store import change_root
from tests.data.store.test_validate import rewritten
from tests.hub_repository import Repository
from tests.hub_server import Fault, HubServer


def change(store: Path, seed: int = 1) -> None:
    """Other data in a store, which stays valid."""
    rewritten(store, lambda arrays: replace(arrays, episode_seed=arrays.episode_seed + seed))


def change_manifest(store: Path, **changes: object) -> None:
    opened = open_store(store)
    manifest = opened.manifest.model_copy(update=changes)
    write_root(store, manifest, opened.provenance, opened.origin)
    shutil.rmtree(store / ".collect", ignore_errors=True)


def refused(store: Path, words: str, hub: HubServer) -> None:
    """The push is refused and changes nothing; with ``replace`` it is done."""
    before = hub.dataset().refs["main"]
    with pytest.raises(ConflictError, match=words) as caught:
        push(store, "user/data")
    assert "--replace" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert hub.dataset().refs["main"] == before
    assert isinstance(push(store, "user/data", replace=True), Pushed)
    assert hub.dataset().refs["main"] != before


def test_a_part_does_not_replace_the_whole(hub: HubServer, published: Repository, tmp_path: Path) -> None:
    part = pull("user/data", tmp_path / "tiny.zarr", tasks="6-12")
    refused(part.path, r"tiny\.zarr does not hold the published task 0, which would be deleted", hub)


def test_another_dataset_of_the_same_name_is_not_replaced(
    hub: HubServer, published: Repository, store_path: Path
) -> None:
    change(store_path)
    refused(store_path, r"the published tiny\.zarr is neither what .* was downloaded from nor what was", hub)


def test_a_stale_copy_does_not_revert_a_newer_push(hub: HubServer, store_path: Path, tmp_path: Path) -> None:
    push(store_path, "user/data")
    theirs = pull("user/data", tmp_path / "theirs/tiny.zarr").path
    old = shutil.copytree(store_path, tmp_path / "backup")
    change(store_path)
    push(store_path, "user/data")  # an earlier own push is replaced without ado
    change(theirs, seed=2)
    refused(theirs, "is neither what", hub)
    shutil.rmtree(store_path)
    shutil.copytree(old, store_path)
    refused(store_path, "is neither what", hub)


def test_a_stale_copy_of_the_description_does_not_revert_a_newer_one(
    hub: HubServer, store_path: Path, tmp_path: Path
) -> None:
    push(store_path, "user/data")
    theirs = shutil.copytree(store_path, tmp_path / "theirs/tiny.zarr")
    change_manifest(store_path, description="corrected")
    push(store_path, "user/data")
    refused(theirs, "is neither what", hub)


def test_what_descends_from_the_published_is_pushed(
    hub: HubServer, published: Repository, tmp_path: Path
) -> None:
    theirs = pull("user/data", tmp_path / "tiny.zarr").path
    for description in ("one", "two"):  # the second time, what is published is our own push
        change_manifest(theirs, description=description)
        push(theirs, "user/data")
    assert pull("user/data", tmp_path / "out.zarr").manifest.description == "two"


def test_more_tasks_are_pushed_from_anywhere(hub: HubServer, collected: Path, tmp_path: Path) -> None:
    part = tmp_path / "part/tiny.zarr"
    shutil.copytree(collected, part)
    shutil.rmtree(part / "tasks/0006")
    opened = open_store(part)
    write_root(part, opened.manifest, opened.provenance)
    shutil.rmtree(part / ".collect", ignore_errors=True)
    push(part, "user/data")
    assert push(collected, "user/data").deleted == 0


def test_somebody_elses_push_at_the_last_moment_is_not_replaced(
    hub: HubServer, collected: Path, store_path: Path
) -> None:
    hub.add("user/data")
    change(store_path)
    hub.faults.append(Fault("POST", "/api/validate-yaml", then=lambda: publish(hub.dataset(), store_path)))
    with pytest.raises(ConflictError, match="--replace"):
        push(collected, "user/data")


def test_a_published_store_that_cannot_be_read(hub: HubServer, collected: Path, store_path: Path) -> None:
    change_root(store_path, lambda root: root["attributes"].update(format_version=99))
    publish(hub.add("user/data"), store_path)
    refused(collected, r"is published there already, and cannot be read .*format version 99", hub)


def test_the_command_says_what_would_be_lost(
    clwm: Clwm, hub: HubServer, published: Repository, tmp_path: Path
) -> None:
    part = pull("user/data", tmp_path / "tiny.zarr", tasks="6").path
    done = clwm("push", part, "user/data")
    assert (done.returncode, done.stdout) == (1, "")
    assert "published tasks 0,12" in done.stderr
    dry = clwm("push", part, "user/data", "--dry-run", "--json")
    plan = json.loads(dry.stdout)
    assert plan["deleted"] > 20
    assert "0,12" in plan["losses"][0]
    assert "refused without --replace" in clwm("push", part, "user/data", "--dry-run").stderr
    done = clwm("push", part, "user/data", "--replace", "--json")
    assert json.loads(done.stdout)["deleted"] == plan["deleted"]
    assert f"{plan['deleted']} files deleted" not in clwm("push", part, "user/data").stdout


# -- authors and licence -------------------------------------------------------------------------------------


def card_of(hub: HubServer) -> tuple[dict[str, object], str]:
    text = hub.dataset().files()["README.md"].decode()
    return yaml.safe_load(text.split("---\n")[1]), text


def test_who_pushes_is_credited_where_nobody_is(hub: HubServer, store_path: Path, tmp_path: Path) -> None:
    change_manifest(store_path, authors=[], licence=None)
    push(store_path, "user/data")
    front, card = card_of(hub)
    assert "| authors | Ada Example |" in card
    assert "| licence | unknown |" in card
    assert "license" not in front
    assert pull("user/data", tmp_path / "out.zarr").manifest.authors == ["Ada Example"]
    assert validate(tmp_path / "out.zarr") == []
    assert push(store_path, "user/data").files == 0  # the same again is nothing new


def test_without_a_name_nobody_is_credited(hub: HubServer, store_path: Path) -> None:
    change_manifest(store_path, authors=[NOBODY], licence="CC-BY-4.0")  # as earlier manifests of clwm did
    hub.faults.append(Fault("GET", "/api/whoami", status=403, times=99))
    push(store_path, "user/data")
    front, card = card_of(hub)
    assert NOBODY not in card
    assert "license" not in front
    assert "| authors | unknown |" in card
    assert "author = {unknown}" in card


def test_authors_and_licence_by_option(clwm: Clwm, hub: HubServer, store_path: Path) -> None:
    options = ("--author", "Bo Ek", "--author", "Cy Oh", "--licence", "MIT")
    done = clwm("push", store_path, "user/data", *options)
    assert done.returncode == 0, done.stderr
    front, card = card_of(hub)
    assert "| authors | Bo Ek, Cy Oh |" in card
    assert front["license"] == "mit"
    root = json.loads(hub.dataset().files()["tiny.zarr/zarr.json"])
    assert root["attributes"]["manifest"]["authors"] == ["Bo Ek", "Cy Oh"]


# -- what is nobody's business -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("clwm collect /home/ada/x.yaml --out=/scratch/ada/y.zarr", "clwm collect x.yaml --out=y.zarr"),
        ("clwm collect ~ada/x.yaml", "clwm collect x.yaml"),
        ("clwm collect ../../ada/x.yaml", "clwm collect x.yaml"),
        ("clwm collect '/home/ada/my data/x.yaml'", "clwm collect x.yaml"),
        ("python -c 'f(\"/home/ada/x\", n=/a/b)'", "python -c 'f(\"x\", n=b)'"),
        ("clwm x --set a=b:/home/ada/c,/home/ada/d", "clwm x --set a=b:c,d"),
        ("clwm train file:///home/ada/x.zarr", "clwm train x.zarr"),
        (r"clwm train 'C:\Users\ada\x.zarr' C:/Users/y", "clwm train x.zarr y"),
        ("clwm train 'https://u:p@host/x.zarr?sig=secret'", "clwm train https://host/x.zarr"),
        ("clwm push x hf_AbcdefghijKlm", "clwm push x hf_..."),
        ("clwm train hf://datasets/user/x@v1", "clwm train hf://datasets/user/x@v1"),
        ("clwm train data/x.zarr --set a.b=0.5", "clwm train data/x.zarr --set a.b=0.5"),
        ("clwm it's /home/ada/x", "clwm it's x"),
        ("clwm collect x --out /home/ada/data/", "clwm collect x --out data/"),
        ("clwm collect x --out=/home/ada/data/x.zarr", "clwm collect x --out=x.zarr"),
        ("", ""),
    ],
)
def test_commands_lose_their_folders(command: str, expected: str) -> None:
    assert without_folders(command) == expected


def test_nothing_that_leaves_tells_of_this_machine(hub: HubServer, store_path: Path, tmp_path: Path) -> None:
    private = tmp_path / "private-folder"
    part = select(store_path, private / "part.zarr", splits=["id", "ood"]).path

    def leak(root: dict[str, object]) -> None:
        edited = root["attributes"]["edited"]  # type: ignore[index]
        for what in (root["attributes"]["provenance"], edited["by"], edited["sources"][0]["provenance"]):  # type: ignore[index]
            what["command"] = f"clwm collect {private}/m.yaml --out={private}/y.zarr"
        edited["options"]["from"] = f"{private}/x"
        for manifest in (root["attributes"]["manifest"], edited["sources"][0]["manifest"]):  # type: ignore[index]
            manifest["behaviours"][0].update(policy="learned", checkpoint=50, zoo=f"{private}/zoo", noise=0.0)
        root["attributes"]["root_sha256"] = outgoing.root_sha256(root)  # type: ignore[index]

    change_root(part, leak)
    push(part, "user/data")
    repository = hub.dataset()
    secrets = [str(private), "private-folder", str(tmp_path), socket.gethostname(), f"/{getpass.getuser()}/"]
    for path, text in repository.files().items():
        for secret in secrets:
            assert secret.encode() not in text, (path, secret)
    assert not any(secret in message for message in repository.messages for secret in secrets)
    root = json.loads(repository.files()["part.zarr/zarr.json"])
    assert root["attributes"]["provenance"]["command"] == "clwm collect m.yaml --out=y.zarr"


def test_a_folder_in_a_tasks_own_metadata_is_refused(hub: HubServer, store_path: Path) -> None:
    group = store_path / "tasks/0006/zarr.json"
    node = json.loads(group.read_text())
    node["attributes"]["behaviours"][0]["zoo"] = "/home/ada/zoo"
    group.write_text(json.dumps(node))
    opened = open_store(store_path)
    write_root(store_path, opened.manifest, opened.provenance)
    shutil.rmtree(store_path / ".collect", ignore_errors=True)
    with pytest.raises(InvalidInputError, match="task 6: its metadata names the folder /home/ada/zoo"):
        push(store_path, "user/data")


def test_the_library_takes_a_store_or_a_path(hub: HubServer, store_path: Path) -> None:
    assert push(open_store(store_path), "user/data", tag="v1").files > 0
    assert push(str(store_path), "user/data", tag="v1").files == 0
    (store_path / "tasks/0006/reward/c.0").write_bytes(b"x")
    with pytest.raises(DamagedDataError, match="not pushed"):
        publish_store(store_path, "user/data")


def test_what_lies_beside_the_stores_files_stays_at_home(hub: HubServer, store_path: Path) -> None:
    for name in (".DS_Store", "._zarr.json", ".nfs000123", "NOTES.md"):
        (store_path / name).write_bytes(b"x")
    (store_path / ".git").mkdir()
    (store_path / ".git/HEAD").write_bytes(b"x")
    push(store_path, "user/data")
    theirs = {path for path in hub.dataset().files() if path.startswith("tiny.zarr/")}
    assert theirs == {
        p for p in files_of(store_path) if p.startswith(("tiny.zarr/tasks/", "tiny.zarr/zarr."))
    }


def test_digests_that_the_check_compared_are_not_computed_again(
    hub: HubServer, store_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither for the upload nor to see that there is nothing to upload."""
    monkeypatch.setattr(lfs, "sha_fileobj", lambda file: pytest.fail(f"{file.name} is read again"))
    monkeypatch.setattr(plan, "file_sha256", lambda path: pytest.fail(f"{path} is read again"))
    first = push(store_path, "user/data", parquet=False)
    assert files_of(store_path).items() <= hub.dataset().files().items()
    assert first.files > len(files_of(store_path))
    again = push(store_path, "user/data", parquet=False)
    assert (again.files, again.commit) == (0, first.commit)


def test_a_file_that_changes_after_the_check_is_not_published(hub: HubServer, store_path: Path) -> None:
    publication = publish_store(store_path, "user/data", parquet=False)
    file = store_path / "tasks/0006/reward/c.0"
    content = bytearray(file.read_bytes())
    content[0] ^= 1
    file.write_bytes(content)
    with pytest.raises(UnavailableError, match="content does not match"):
        publication.push()
    assert "tiny.zarr/zarr.json" not in hub.dataset().files()
