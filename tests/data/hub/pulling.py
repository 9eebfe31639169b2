"""Helpers of the tests that download stores from the Hub."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from clwm_data.hub import pull
from clwm_data.hub.published import find_one
from clwm_data.hub.reference import parse_reference
from clwm_data.store.reader import Store
from tests.data.hub.conftest import publish
from tests.data.store.test_validate import rewritten
from tests.hub_repository import Repository
from tests.hub_server import HubServer

#: A large file of task 6, and downloads of any.
REWARD = r"resolve/.*/tasks/0006/reward/c\.0"
CHUNKS = r"resolve/.*/tasks/.*/c\."


def download(out: Path, text: str = "user/data", **options: object) -> Store:
    return pull.download(find_one(parse_reference(text)), out, **options)  # type: ignore[arg-type]


def travelled(hub: HubServer) -> set[str]:
    """Tasks of which files were downloaded."""
    return {path.split("/")[2] for path in hub.sent if "/tasks/" in path}


def change_and_publish(repository: Repository, store: Path) -> None:
    """Another version of the store: task 6 has its rewards doubled."""
    rewritten(store, lambda arrays: replace(arrays, reward=arrays.reward * 2))
    publish(repository, store)
