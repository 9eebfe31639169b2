"""The Parquet files that go beside a published store, read by the real ``datasets``."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets
import pytest
import yaml

from clwm_data.errors import ConflictError
from clwm_data.hub.parquet import PATTERN
from clwm_data.hub.push import publish_store, push
from clwm_data.opening import open_store
from clwm_data.store.root_writer import write_root
from tests.data.hub.pulling import download
from tests.data.hub.test_push import small
from tests.data.store.test_parquet import expected_rows
from tests.data.store.test_validate import rewritten
from tests.hub_repository import Tree
from tests.hub_server import HubServer

FEATURES = {
    **{name: datasets.Value("int64") for name in ("task", "episode", "step")},
    "observation": datasets.List(datasets.Value("float32"), length=2),
    "action": datasets.List(datasets.Value("float32"), length=2),
    "reward": datasets.Value("float32"),
    "terminated": datasets.Value("bool"),
    "truncated": datasets.Value("bool"),
    "behaviour": datasets.Value("string"),
    "parameter.angle": datasets.Value("float64"),
    "parameter.goal": datasets.List(datasets.Value("float64"), length=2),
}


def folder_of(tree: Tree, folder: Path) -> Path:
    """A repository's files as a folder."""
    for path, content in tree.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    return folder


def front_matter(tree: Tree) -> dict[str, Any]:
    front: dict[str, Any] = yaml.safe_load(tree["README.md"].decode().split("---\n")[1])
    return front


def parquet_files(tree: Tree) -> set[str]:
    return {path for path in tree if path.endswith(".parquet")}


def listed(tree: Tree) -> set[str]:
    """The files that the card points to."""
    return {
        path
        for config in front_matter(tree).get("configs", ())
        for entry in config["data_files"]
        for path in entry["path"]
    }


def without_task(store_path: Path, index: int) -> None:
    store = open_store(store_path)
    shutil.rmtree(store_path / f"tasks/{index:04d}")
    write_root(store_path, store.manifest, store.provenance)
    shutil.rmtree(store_path / ".collect", ignore_errors=True)


def renamed(store_path: Path, name: str) -> Path:
    """A copy of the store, without its task 6, under another name."""
    other = Path(shutil.copytree(store_path, store_path.with_name(f"{name}.zarr")))
    manifest = open_store(other).manifest.model_copy(update={"name": name})
    shutil.rmtree(other / "tasks/0006")
    write_root(other, manifest, open_store(store_path).provenance)
    shutil.rmtree(other / ".collect", ignore_errors=True)
    return other


def test_datasets_loads_what_was_pushed(hub: HubServer, collected: Path, tmp_path: Path) -> None:
    push(collected, "user/data")
    tree = hub.dataset().files()
    assert "viewer" not in front_matter(tree)
    assert listed(tree) == parquet_files(tree)
    folder = folder_of(tree, tmp_path / "pushed")
    store = open_store(collected)
    loaded = datasets.load_dataset(str(folder), cache_dir=str(tmp_path / "hf"))
    assert list(loaded) == ["train", "id", "ood"]
    for split, rows in loaded.items():
        assert rows.features == datasets.Features(FEATURES)
        assert rows.to_list() == expected_rows(store, split)
    streamed = datasets.load_dataset(str(folder), "tiny", streaming=True)
    for split, rows in streamed.items():
        assert rows.features == datasets.Features(FEATURES)
        assert list(rows) == expected_rows(store, split)


def test_what_the_card_says_works(hub: HubServer, collected: Path, tmp_path: Path) -> None:
    """Word for word, in a process of its own that talks to the Hub."""
    push(collected, "user/data")
    card = hub.dataset().files()["README.md"].decode()
    block = card.split("```python\n")[2].split("```")[0]
    code = f"{block}\nprint(rows.num_rows, *datasets.load_dataset('user/data'))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["200", "train", "id", "ood"], done.stderr


def test_files_stay_what_they_are_until_their_rows_change(hub: HubServer, store_path: Path) -> None:
    push(store_path, "user/data")
    before = hub.dataset().files()
    assert push(store_path, "user/data").files == 0
    without_task(store_path, 6)  # the only one of split id
    done = push(store_path, "user/data", replace=True)
    assert done.files == 3  # root, card and figure
    after = hub.dataset().files()
    gone = parquet_files(before) - parquet_files(after)
    assert [PATTERN.fullmatch(path)[2] for path in gone] == ["id"]  # type: ignore[index]
    assert listed(after) == parquet_files(after) == parquet_files(before) - gone


def test_no_commit_of_an_update_shows_half_of_it(hub: HubServer, store_path: Path) -> None:
    """What the card points to is there, and is of one version, in every state of the branch."""
    push(store_path, "user/data")
    repository = hub.dataset()
    old, earlier = listed(repository.files()), len(repository.trees)
    rewritten(store_path, lambda arrays: replace(arrays, observation=arrays.observation * 2))
    small(publish_store(store_path, "user/data"), 1).push()
    new = listed(repository.files())
    assert len(new & old) == 2  # of the splits that did not change
    commits = list(repository.trees.values())[earlier:]
    assert len(commits) > 2
    for tree in commits:
        assert listed(tree) in (old, new)
        assert listed(tree) <= parquet_files(tree)
    assert parquet_files(repository.files()) == new


def test_without_parquet(hub: HubServer, collected: Path) -> None:
    push(collected, "user/data", parquet=False)
    tree = hub.dataset().files()
    assert not parquet_files(tree)
    assert "configs" not in front_matter(tree)
    assert front_matter(tree)["viewer"] is False
    assert "load_dataset" not in tree["README.md"].decode()
    push(collected, "user/data")
    assert len(parquet_files(hub.dataset().files())) == 3
    assert push(collected, "user/data", parquet=False).deleted == 3
    assert hub.dataset().files() == tree


def test_several_stores_in_one_repository(hub: HubServer, store_path: Path, tmp_path: Path) -> None:
    """A push of one of them keeps what the others have, and the files of people."""
    mine = {"config_name": "mine", "data_files": "tiny.parquet/notes.parquet"}
    card = f"---\n{yaml.safe_dump({'configs': [mine]})}---\n"
    hub.add("user/data").change({"README.md": card.encode(), "tiny.parquet/notes.parquet": b"x"})
    other = renamed(store_path, "other")
    push(store_path, "user/data")
    push(other, "user/data")
    push(store_path, "user/data")
    tree = hub.dataset().files()
    configs = front_matter(tree)["configs"]
    assert [config["config_name"] for config in configs] == ["other", "tiny", "mine"]
    assert [entry["split"] for entry in configs[0]["data_files"]] == ["train", "ood"]
    folder = folder_of(tree, tmp_path / "pushed")
    for name, path in (("other", other), ("tiny", store_path)):
        rows = datasets.load_dataset(str(folder), name, cache_dir=str(tmp_path / "hf"))
        assert {split: rows[split].to_list() for split in rows} == {
            split: expected_rows(open_store(path), split) for split in rows
        }
    push(other, "user/data", parquet=False)
    tree = hub.dataset().files()
    assert [config["config_name"] for config in front_matter(tree)["configs"]] == ["tiny", "mine"]
    assert {path.split("/")[0] for path in parquet_files(tree)} == {"tiny.parquet"}
    assert tree["tiny.parquet/notes.parquet"] == b"x"


def test_a_configuration_of_ones_own_with_the_stores_name_is_not_replaced(
    hub: HubServer, collected: Path
) -> None:
    card = f"---\n{yaml.safe_dump({'configs': [{'config_name': 'tiny', 'data_files': 'a.csv'}]})}---\n"
    hub.add("user/data").change({"README.md": card.encode()})
    with pytest.raises(ConflictError, match=r"README.md: its configs list another 'tiny'.*--no-parquet"):
        push(collected, "user/data")
    push(collected, "user/data", parquet=False)
    assert front_matter(hub.dataset().files())["configs"] == [{"config_name": "tiny", "data_files": "a.csv"}]


def test_downloading_a_store_leaves_the_parquet_files_there(
    hub: HubServer, collected: Path, tmp_path: Path
) -> None:
    push(collected, "user/data")
    download(tmp_path / "out.zarr")
    open_store("user/data").tasks[6].load()
    assert hub.sent
    assert not any(".parquet" in path for _, path in hub.log if "resolve" in path)


@pytest.mark.parametrize("dry", [True, False])
def test_without_pyarrow_it_is_said_before_anything_happens(
    hub: HubServer, collected: Path, tmp_path: Path, dry: bool
) -> None:
    code = "import sys; sys.modules['pyarrow'] = None; from clwm_cli.entry import run; run()"

    def clwm(*options: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", code, "push", str(collected), "user/data", *options]
        command += ["--dry-run"] if dry else []
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    done = clwm()
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "clwm: error: publishing Parquet files (--no-parquet leaves them out) needs the package pyarrow: "
        'pip install "clwm[parquet]"\n'
    )
    assert hub.repositories == {}
    assert clwm("--no-parquet").returncode == 0


def test_no_temporary_files_are_left(
    hub: HubServer, collected: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    before = set(tmp_path.iterdir())
    push(collected, "user/data")
    left = {path.name for path in set(tmp_path.iterdir()) - before} - {"hf", "cache"}
    assert not left


def test_a_full_disk_is_one_line(hub: HubServer, collected: Path, tmp_path: Path) -> None:
    """No file can grow beyond 4 kB; nothing is pushed, and nothing stays."""
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096));"
        "from clwm_cli.entry import run; run()"
    )
    (tmp_path / "tmp").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", code, "push", str(collected), "user/data"],
        cwd=tmp_path,
        env={**os.environ, "TMPDIR": str(tmp_path / "tmp")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"clwm: error: {tmp_path}/tmp/clwm-parquet-")
    assert done.stderr.endswith("and run the same command again; nothing was pushed\n")
    assert done.stderr.count("\n") == 1
    assert not list((tmp_path / "tmp").iterdir())
    assert not any("tiny.zarr/zarr.json" in repository.files() for repository in hub.repositories.values())
