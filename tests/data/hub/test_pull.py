from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from clwm_data.errors import ClwmError
from clwm_data.hub.published import find_one
from clwm_data.hub.pull import pull
from clwm_data.hub.reference import parse_reference
from clwm_data.store import open_store
from clwm_data.store.reader import Store
from clwm_data.store.validate import validate
from tests.data.hub.conftest import files_of
from tests.hub_repository import Repository
from tests.hub_server import Fault, HubServer

DATA = "datasets/user/data/resolve/.*/tasks"


def download(out: Path, text: str = "user/data", **options: object) -> Store:
    return pull(find_one(parse_reference(text)), out, **options)  # type: ignore[arg-type]


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


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
    assert store.origin.repository == "user/data"
    assert store.origin.revision == published.refs["main"]
