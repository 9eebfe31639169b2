"""A Hub on loopback for the tests of this folder, and nothing else to talk to."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants
from huggingface_hub.utils import _http

from clwm_data.hub import client
from clwm_data.store import address
from tests.hub_repository import Repository
from tests.hub_server import TOKEN, HubServer


@pytest.fixture(autouse=True)
def _loopback_only(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.path.name == "test_real_hub.py":  # runs on request only
        return
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> None:
        assert address[0] in ("127.0.0.1", "localhost"), f"a test talks to {address}"
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds that were waited for before repetitions; nobody waits for real."""
    waited: list[float] = []
    monkeypatch.setattr(client, "sleep", waited.append)
    monkeypatch.setattr(address, "sleep", waited.append)
    monkeypatch.setattr(_http.time, "sleep", waited.append)
    return waited


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, waits: list[float]) -> Iterator[HubServer]:
    """The server, and the client of this process and of its children pointed at it, logged in."""
    server = HubServer().start()
    settings = {
        "HF_ENDPOINT": server.endpoint,
        "HF_HUB_DISABLE_XET": "1",
        "HF_HOME": str(tmp_path / "hf"),
        "HF_HUB_CACHE": str(tmp_path / "hf/hub"),
        "HF_ASSETS_CACHE": str(tmp_path / "hf/assets"),
        "HF_TOKEN": TOKEN,
        "CLWM_CACHE": str(tmp_path / "cache"),
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(constants, "ENDPOINT", server.endpoint)
    template = server.endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    for name in ("HF_HUB_CACHE", "HF_ASSETS_CACHE"):
        monkeypatch.setattr(constants, name, settings[name])
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)  # no power fails here
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "hf/token"))
    yield server
    server.stop()


def files_of(store: Path) -> dict[str, bytes | None]:
    """The files of a store as a repository would hold them."""
    return {
        f"{store.name}/{path.relative_to(store).as_posix()}": path.read_bytes()
        for path in store.rglob("*")
        if path.is_file() and ".collect" not in path.parts
    }


def publish(repository: Repository, store: Path) -> None:
    """Have a repository hold a store as it is now."""
    old = {path: None for path in repository.files() if path.startswith(f"{store.name}/")}
    repository.change({**old, **files_of(store)})


@pytest.fixture
def published(hub: HubServer, collected: Path) -> Repository:
    """``user/data`` with the tiny store."""
    repository = hub.add("user/data")
    publish(repository, collected)
    return repository
