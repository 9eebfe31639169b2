"""Every way in which the Hub says no, as one clear line."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from huggingface_hub import constants, get_session

from clwm_data import pace
from clwm_data.errors import ClwmError, NotFoundError, UnavailableError
from clwm_data.hub import client
from clwm_data.hub.cache import cached_store, open_remote
from clwm_data.hub.published import find_one
from clwm_data.hub.push import publish_store
from clwm_data.hub.reference import parse_reference
from clwm_data.opening import open_store
from tests.hub_repository import Repository
from tests.hub_server import TOKEN, Fault, HubServer

DATA = parse_reference("user/data")


def status(number: int, **headers: str) -> Callable[[HubServer], object]:
    return lambda hub: hub.faults.append(Fault("GET", "/", status=number, times=999, headers=headers))


def code(number: int, name: str, message: str = "") -> Callable[[HubServer], object]:
    return status(number, **{"X-Error-Code": name, "X-Error-Message": message})


@pytest.mark.parametrize(
    ("prepare", "words"),
    [
        (status(401), "does not accept the login: `hf auth login`, or set HF_TOKEN"),
        (status(403), "forbids this to your login: use a token with the right to do it"),
        (status(404), "no such thing on the Hub: check the name"),
        (status(429), "limits your requests: run the same command again later; it resumes"),
        (status(500), "has a problem: run the same command again later; it resumes"),
        (status(503), "has a problem: run the same command again later; it resumes"),
        (status(418), "the Hub refuses the request"),
        (code(404, "RepoNotFound"), "no such repository on the Hub, or it is private: check the name"),
        (code(401, "RepoNotFound"), "no such repository on the Hub, or it is private: check the name"),
        (code(403, "GatedRepo"), "access must be asked for on its page on the Hub"),
        (code(404, "RevisionNotFound"), "has no such revision: check the branch, tag or commit"),
        (lambda hub: hub.repositories.clear(), "no such repository on the Hub, or it is private"),
        (lambda hub: setattr(hub.dataset(), "gated", True), "access must be asked for on its page"),
    ],
)
def test_refusals_when_reading(
    hub: HubServer,
    published: Repository,
    monkeypatch: pytest.MonkeyPatch,
    prepare: Callable[[HubServer], object],
    words: str,
) -> None:
    monkeypatch.delenv("HF_TOKEN")
    prepare(hub)
    with pytest.raises(ClwmError) as caught:
        find_one(DATA)
    assert words in str(caught.value)
    assert str(caught.value).startswith("hf://datasets/user/data: ")
    assert "\n" not in str(caught.value)


def test_a_revision_that_is_not_there(hub: HubServer, published: Repository) -> None:
    with pytest.raises(ClwmError, match="user/data@v9: has no such revision"):
        find_one(parse_reference("user/data@v9"))


def test_a_repository_without_stores(hub: HubServer) -> None:
    hub.add("user/data")
    with pytest.raises(ClwmError, match="holds no clwm store"):
        find_one(DATA)


def test_repeating_is_bounded_and_waits_longer_each_time(
    hub: HubServer, published: Repository, waits: list[float]
) -> None:
    hub.faults.append(Fault("GET", "/revision/|/data$", status=500, times=999))
    with pytest.raises(ClwmError):
        find_one(DATA)
    assert waits == [1.0, 2.0, 4.0]
    assert len(hub.log) == 4


@pytest.mark.parametrize("number", [400, 401, 403, 404, 418])
def test_what_repeating_cannot_mend_is_not_repeated(
    hub: HubServer, published: Repository, waits: list[float], number: int
) -> None:
    hub.faults.append(Fault("GET", "/", status=number, times=999))
    with pytest.raises(ClwmError):
        find_one(DATA)
    assert (waits, len(hub.log)) == ([], 1)


@pytest.mark.parametrize("headers", [{"Retry-After": "33"}, {"RateLimit": '"api";r=0;t=33'}])
def test_retry_after_is_obeyed_and_told(
    hub: HubServer,
    published: Repository,
    waits: list[float],
    caplog: pytest.LogCaptureFixture,
    headers: dict[str, str],
) -> None:
    hub.faults.append(Fault("GET", "/api/datasets/user/data$", status=429, headers=headers))
    with caplog.at_level(logging.WARNING, logger="clwm_data.hub.client"):
        find_one(DATA)
    assert 33.0 in waits
    assert "the Hub asks to wait: going on in 33 s" in caplog.text


def test_a_wait_of_hours_is_left_to_the_user(
    hub: HubServer, published: Repository, waits: list[float]
) -> None:
    hub.faults.append(Fault("GET", "/", status=429, headers={"Retry-After": "9000"}, times=9))
    with pytest.raises(ClwmError, match="limits your requests"):
        find_one(DATA)
    assert waits == []


def test_no_network(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.stop()
    with pytest.raises(ClwmError, match=rf"the Hub \({hub.endpoint}\) cannot be reached: check the network"):
        find_one(DATA)

    def no_name(*arguments: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(constants, "ENDPOINT", "http://localhost:1")
    monkeypatch.setattr(socket, "getaddrinfo", no_name)
    with pytest.raises(ClwmError, match="cannot be reached: check the network"):
        find_one(DATA)


@pytest.mark.parametrize(
    "answer", [b"<html>log in</html>", b"[]", b"{}", b'"text"', b"{" * 10**5, b'{"id": "user/data"}', b""]
)
def test_what_is_no_hub(hub: HubServer, published: Repository, answer: bytes) -> None:
    hub.faults.append(Fault("GET", "/", times=10**6, alter=lambda body: answer))
    with pytest.raises(ClwmError) as caught:
        find_one(DATA)
    assert "\n" not in str(caught.value)
    assert "Expecting value" not in str(caught.value)
    if answer.startswith(b"<"):
        assert f"what answers at {hub.endpoint} is not a Hub: check HF_ENDPOINT" in str(caught.value)


def test_a_hub_that_accepts_and_says_nothing(
    hub: HubServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Every request ends after a while, whichever function of the Hub's client made it."""
    # Patched: every command calls the Hub through many functions, and none has a reason to choose these.
    monkeypatch.setattr(client, "READ_TIMEOUT", 0.2)
    monkeypatch.setattr(client, "PATIENCE", 10.0)
    monkeypatch.setattr(client, "NOTICE", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{server.getsockname()[1]}")
        begun = time.monotonic()
        with pytest.raises(UnavailableError, match="cannot be reached"):
            find_one(DATA)
        assert time.monotonic() - begun < 30
    assert "the Hub does not answer: trying again" in caplog.text


@pytest.mark.parametrize("path", ["/api/", r"tasks/0006/reward/c\.0"])
def test_a_hub_that_trickles(
    hub: HubServer, published: Repository, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    """No byte is late, but the whole would take for ever: metadata, or a file."""
    # Patched: the connections of the Hub's client are made where no parameter leads. Long enough that a stall
    # of the machine while the request is sent does not pass for slow sending.
    monkeypatch.setattr(pace, "WINDOW_SECONDS", 1.0)
    hub.faults.append(Fault("GET", path, times=10**6, trickle=0.02))
    begun = time.monotonic()
    with pytest.raises(UnavailableError, match=r"user/data.*: arrives at less than 1 kB/s: .*it resumes"):
        open_remote(DATA)[6].load()
    assert time.monotonic() - begun < 30
    hub.faults.clear()
    open_remote(DATA)[6].load()


@pytest.mark.parametrize("seconds", [0.02, None])
def test_a_hub_that_takes_an_upload_slowly(
    hub: HubServer, monkeypatch: pytest.MonkeyPatch, seconds: float | None
) -> None:
    """A byte now and then, or none at all."""
    # Patched: the connections of the Hub's client are made where no parameter leads.
    monkeypatch.setattr(pace, "WINDOW_SECONDS", 0.3)
    monkeypatch.setattr(client, "WRITE_TIMEOUT", 0.4)
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        server.bind(("127.0.0.1", 0))
        server.listen()
        stopped = threading.Event()

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                while not stopped.wait(seconds):
                    connection.recv(1)

        threading.Thread(target=serve, daemon=True).start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}/large/x"
        begun = time.monotonic()
        with pytest.raises(UnavailableError, match=r"user/data: is sent at less than 1 kB/s: .*it resumes"):
            client.call("user/data", get_session().put, url, content=bytes(2**26))
        stopped.set()
    assert time.monotonic() - begun < 10


def test_files_travel_by_http(monkeypatch: pytest.MonkeyPatch, hub: HubServer, published: Repository) -> None:
    """The Xet client has no bound in time; a user who sets its variable has it."""
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", False)
    find_one(DATA)
    assert not constants.HF_HUB_DISABLE_XET  # the fixture sets the variable
    monkeypatch.delenv("HF_HUB_DISABLE_XET")
    find_one(DATA)
    assert constants.HF_HUB_DISABLE_XET


@pytest.mark.parametrize("stated", ["²", "soon", "-1", "9" * 400])
def test_a_wait_that_cannot_be_understood(
    hub: HubServer, published: Repository, waits: list[float], stated: str
) -> None:
    headers = {"Retry-After": stated}
    hub.faults.append(Fault("GET", "/api/datasets/user/data$", status=429, headers=headers))
    find_one(DATA)
    assert waits == [1.0]


def test_a_model_repository_is_recognised(hub: HubServer) -> None:
    hub.add("user/agent", "model")
    with pytest.raises(NotFoundError, match=r"no such dataset .*hf://models/user/agent is one .*clwm pull"):
        find_one(parse_reference("user/agent"))


def test_what_was_meant_as_a_path_is_told_so(
    hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for text in ("stores/foo", "stores/foo@v1"):
        with pytest.raises(
            NotFoundError, match=rf"no path '{text}' here, so it was taken as a name on the Hub: "
        ):
            open_store(text)
    hub.faults.append(Fault("GET", "/", drop="before", times=99))
    with pytest.raises(UnavailableError, match="no path 'stores/foo' here"):
        open_store("stores/foo")
    with pytest.raises(UnavailableError, match=r"^hf://datasets/stores/foo: "):
        open_store("hf://datasets/stores/foo")


def test_offline(
    hub: HubServer, published: Repository, collected: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    for act in (
        lambda: find_one(DATA),
        lambda: publish_store(collected, "user/data").push(),
        lambda: cached_store(DATA),
        lambda: open_remote(DATA),
    ):
        with pytest.raises(ClwmError, match="HF_HUB_OFFLINE is set"):
            act()
    assert hub.log == []


def test_offline_what_was_downloaded_before_is_used(
    hub: HubServer, published: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = cached_store(DATA)
    hub.log.clear()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert cached_store(DATA) == path
    assert open_remote(DATA).tasks[6].load().transitions == 200
    with pytest.raises(ClwmError, match="not downloaded before"):
        cached_store(parse_reference("user/data@v1"))
    assert hub.log == []


def test_a_server_that_says_the_token_is_not_repeated(hub: HubServer, published: Repository) -> None:
    hub.faults.append(
        Fault("GET", "/", status=403, times=9, headers={"X-Error-Message": f"bad {TOKEN}\n\x1b[2J"[:30]})
    )
    with pytest.raises(ClwmError) as caught:
        find_one(DATA)
    assert "Secret" not in str(caught.value)


def test_no_token_is_ever_written(hub: HubServer, collected: Path, tmp_path: Path) -> None:
    publish_store(collected, "user/data").push(tag="v1")
    cached_store(DATA)
    for file in tmp_path.rglob("*"):
        assert not file.is_file() or b"Secret" not in file.read_bytes(), file
    for content in hub.dataset().files().values():
        assert b"Secret" not in content
