"""Stores in odd places: names, full disks, write protection, other people's files."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from clwm_data.collection.collector import collect
from clwm_data.edit import delete_episodes, merge, select
from clwm_data.errors import ClwmError, ConflictError
from clwm_data.opening import open_store
from clwm_data.paths import dataset_name, target_path
from clwm_data.store.validate import validate
from tests.conftest import ROOT, Call, Clwm, tiny_manifest
from tests.data.edit.editing import assert_sound


@pytest.mark.parametrize(
    "folder", ["my data.zarr", "données été.zarr", "数据.zarr", "a'b\"c.zarr", "no suffix"]
)
def test_folders_of_any_name(collected: Path, tmp_path: Path, clwm: Clwm, folder: str) -> None:
    path = Path(shutil.copytree(collected, tmp_path / folder))
    done = clwm("delete-episodes", path, "--task", "6", "--episodes", "0")
    assert done.returncode == 0, done.stderr
    assert open_store(path).name == "tiny"
    assert_sound(path)
    part = select(path, tmp_path / f"x {folder}", tasks=[0])
    rest = select(path, tmp_path / f"y {folder}", tasks=[6, 12])
    both = merge([part.path, rest.path], tmp_path / f"z {folder}")
    assert validate(both.path) == []
    collect(tiny_manifest(), path, overwrite=True)
    assert_sound(path)


def test_names_of_datasets_after_their_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here.zarr").mkdir()
    monkeypatch.chdir(tmp_path / "here.zarr")
    names = {
        "données été.zarr": "donnees-ete",
        "数据.zarr": "x",
        ".": "here",
        "a/../b.zarr/": "b",
        "/": "x",
        "--": "x",
    }
    assert {path: dataset_name(path, "x") for path in names} == names


@pytest.mark.parametrize(
    ("path", "words"), [("", "is empty"), ("/", "root of the file system"), ("f/x", "is a file")]
)
def test_no_place_for_a_store(collected: Path, tmp_path: Path, call: Call, path: str, words: str) -> None:
    (tmp_path / "f").touch()
    (tmp_path / "m.yaml").write_text(yaml.safe_dump(tiny_manifest().model_dump(mode="json")))
    for arguments in (
        ["select", collected, path],
        ["merge", collected, collected, "--out", path],
        ["collect", "m.yaml", "--out", path],
        ["convert", collected, path, "--to", "npz"],
    ):
        code, _, err = call(*arguments)
        assert code == (2 if path == "" else 1), err
        assert words in err
        assert "Traceback" not in err
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["f", "m.yaml"]


def test_the_current_folder_is_a_store(collected: Path, tmp_path: Path, call: Call) -> None:
    shutil.copytree(collected, tmp_path, dirs_exist_ok=True)
    code, _, err = call("delete-episodes", ".", "--task", "6", "--episodes", "0")
    assert code == 0, err
    assert open_store(tmp_path).tasks[6].record.episodes == 4
    assert validate(tmp_path) == []
    for verb in ("validate", "info", "delete-episodes"):
        for path in ("", "/"):
            more = ["--task", "6", "--episodes", "0"] if verb == "delete-episodes" else []
            code, _, err = call(verb, path, *more)
            assert code in (1, 2)
            assert err.count("\n") == 1 or code == 2
            assert "Traceback" not in err


def test_a_dataset_whose_name_has_the_suffix(tmp_path: Path, clwm: Clwm) -> None:
    manifest = tiny_manifest(tasks=[6], name="a.zarr")
    (tmp_path / "m.yaml").write_text(yaml.safe_dump(manifest.model_dump(mode="json")))
    done = clwm("collect", "m.yaml")
    assert done.stdout.startswith("data/a.zarr: "), done.stderr
    assert "already complete" not in done.stderr
    for name in ("a", "a.zarr"):
        assert clwm("info", name).returncode == 0
    assert "already complete" in clwm("collect", "m.yaml").stderr


def test_a_full_disk_is_one_short_line(collected: Path, tmp_path: Path) -> None:
    code = f"""
import sys
from pathlib import Path
from clwm_data.edit import delete_episodes, merge, select
from clwm_data.errors import UnavailableError
small = Path({str(tmp_path)!r}) / "m"
for act in (
    lambda: select({str(collected)!r}, small / "x.zarr"),
    lambda: select({str(collected)!r}, small / "x.zarr", min_return=-1e9),
):
    try:
        act()
    except UnavailableError as error:
        text = str(error)
        assert text.endswith(
            "No space left on device: free space and run the same command again; nothing was changed"
        ), text
        assert len(text) < 300, text
    else:
        raise SystemExit("nothing was refused")
    assert list(small.iterdir()) == [], list(small.iterdir())
"""
    (tmp_path / "m").mkdir()
    shell = f'mount -t tmpfs -o size=24k tmpfs {tmp_path / "m"} || exit 77; exec {sys.executable} -c "$CODE"'
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", shell],
        env={**os.environ, "CODE": code, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode in (1, 77) and "Traceback" not in done.stderr and "refused" not in done.stderr:
        pytest.skip("this system lets no ordinary user mount anything in a namespace")
    assert done.returncode == 0, done.stderr


def test_write_protected_sources(store_path: Path, tmp_path: Path) -> None:
    paths = [store_path, *store_path.rglob("*")]
    for path in paths:
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        for name, made in (
            ("copied.zarr", select(store_path, tmp_path / "copied.zarr")),
            ("rest.zarr", select(store_path, tmp_path / "rest.zarr", episodes=[0])),
        ):
            assert validate(made.path) == []
            for path in (tmp_path / name).rglob("*"):
                assert path.stat().st_mode & 0o200, path
    finally:
        for path in paths:
            path.chmod(0o755 if path.is_dir() else 0o644)


def test_no_hard_links(store_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(source: Path, target: Path) -> None:
        raise OSError(errno.EPERM, "Operation not permitted", str(source))

    monkeypatch.setattr(os, "link", refused)
    delete_episodes(store_path, {6: [0]})
    assert_sound(store_path)


def test_what_a_user_put_into_a_store_stays(store_path: Path) -> None:
    (store_path / "NOTES.md").write_text("mine")
    (store_path / ".git").mkdir()
    (store_path / ".git/HEAD").write_text("ref")
    (store_path / "link").symlink_to("NOTES.md")
    delete_episodes(store_path, {6: [0]})
    collect(tiny_manifest(), store_path, overwrite=True)
    assert (store_path / "NOTES.md").read_text() == "mine"
    assert (store_path / ".git/HEAD").read_text() == "ref"
    assert (store_path / "link").readlink() == Path("NOTES.md")
    assert open_store(store_path).tasks[6].record.episodes == 5


@pytest.mark.parametrize("place", ["tasks/README", "tasks/0006/mine.txt", "tasks/0006/reward/mine.txt"])
def test_what_lies_among_the_tasks_is_not_lost(store_path: Path, place: str) -> None:
    (store_path / place).write_text("mine")
    for act in (
        lambda: delete_episodes(store_path, {6: [0]}),
        lambda: delete_episodes(store_path, {12: [0]}),
        lambda: collect(tiny_manifest(), store_path, overwrite=True),
    ):
        with pytest.raises(ClwmError, match=f"{place}: is not a part of the store"):
            act()
        assert (store_path / place).read_text() == "mine"
        assert open_store(store_path).tasks[6].record.episodes == 5


@pytest.mark.parametrize("name", [".DS_Store", "._zarr.json", ".nfs0000000001", "Thumbs.db"])
def test_litter_of_systems_is_in_nobodys_way(store_path: Path, tmp_path: Path, name: str) -> None:
    for folder in ("", "tasks", "tasks/0006", "tasks/0006/reward"):
        (store_path / folder / name).write_text("litter")
    assert validate(store_path) == []
    part = select(store_path, tmp_path / "part.zarr")
    assert not list(part.path.rglob(name))
    delete_episodes(store_path, {6: [0]})
    assert not list(store_path.rglob(name))
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / name).write_text("litter")
    collect(tiny_manifest(tasks=[6]), tmp_path / "new")
    assert validate(tmp_path / "new") == []


def test_validation_beside_an_edit_compares_one_store(store_path: Path) -> None:
    """The store is replaced between two of its tasks."""
    edits = iter([{6: [0]}, {12: [0]}])

    def edit(_: int) -> None:
        if (episodes := next(edits, None)) is not None:
            delete_episodes(store_path, episodes)

    assert validate(store_path, edit) == []
    file = store_path / "tasks/0006/reward/c.0"
    file.write_bytes(bytes([file.read_bytes()[0] ^ 1]) + file.read_bytes()[1:])
    assert len(validate(store_path)) == 1


def test_targets_below_links_and_files(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    assert target_path(tmp_path / "link/x/y.zarr") == tmp_path.resolve() / "real/x/y.zarr"
    (tmp_path / "f").touch()
    with pytest.raises(ConflictError, match="is a file"):
        collect(tiny_manifest(), tmp_path / "f")


def test_what_fails_leaves_no_folder_on_the_way_to_its_target(collected: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    for target in ("a/b/x.zarr", "mine/c/x.zarr"):
        with pytest.raises(ClwmError, match="no episode passes"):
            select(collected, tmp_path / target, min_return=1e9)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
    assert list((tmp_path / "mine").iterdir()) == []
