from __future__ import annotations

from pathlib import Path

import pytest

from clwm_data.errors import ClwmError
from clwm_data.store.digest import root_sha256
from clwm_data.store.validate import validate
from tests.data.hub.conftest import files_of
from tests.data.hub.pulling import download, travelled
from tests.data.store.test_hostile_store import (
    change_root,
    claim_shape_and_chunks,
    little_memory,
    task_record,
)
from tests.hub_repository import Repository
from tests.hub_server import HubServer


@pytest.mark.parametrize(
    ("path", "content", "words"),
    [
        ("tasks/0006/reward/c.0", None, "0006/reward/c.0: is missing: its upload is not complete"),
        ("tasks/0006/reward/c.0", b"short", "has 5 bytes, the store says 800"),
        ("tasks/0006/reward/c.0", bytes(10**6), "has 1000000 bytes, the store says 800"),
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
    file = store_path / "zarr.json"
    file.write_text(file.read_text().replace('"seed": 0', '"seed": 7'))
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
