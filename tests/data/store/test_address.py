"""Servers that misbehave: one line each, and no wait without an end."""

from __future__ import annotations

import io
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from clwm_data.errors import ClwmError, DamagedDataError, InvalidInputError, NotFoundError, UnavailableError
from clwm_data.opening import open_store
from clwm_data.pace import Pace, TooSlowError
from clwm_data.store import address
from clwm_data.store.address import Address, read_address, retry_after, stream_address

Serve = Callable[[list[bytes]], str]


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[float]:
    waited: list[float] = []
    monkeypatch.setattr(address, "sleep", waited.append)
    monkeypatch.setenv("CLWM_CACHE", str(tmp_path / "cache"))
    return waited


@pytest.fixture
def serve() -> Iterator[Serve]:
    """A server that gives raw answers, one per connection, and the last one for ever."""
    sockets = []

    def start(answers: list[bytes]) -> str:
        server = socket.create_server(("127.0.0.1", 0))
        sockets.append(server)

        def loop() -> None:
            number = 0
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(65536)
                    connection.sendall(answers[min(number, len(answers) - 1)])
                number += 1

        threading.Thread(target=loop, daemon=True).start()
        return f"http://127.0.0.1:{server.getsockname()[1]}/x.zarr"

    yield start
    for server in sockets:
        server.close()


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
CUT = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel"
CUT_CHUNK = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel"
GARBAGE = b"\x00\xff not HTTP\r\n\r\n"
NOTHING = b""
BUSY = b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"
ODD_WAIT = "HTTP/1.1 429 Too Many\r\nRetry-After: ²\r\nContent-Length: 0\r\n\r\n".encode("latin-1")
BAD_CHUNK = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n"


@pytest.mark.parametrize("answer", [CUT, CUT_CHUNK, GARBAGE, NOTHING, BUSY, ODD_WAIT, BAD_CHUNK])
def test_what_passes_is_asked_for_again(serve: Serve, answer: bytes, waits: list[float]) -> None:
    assert read_address(Address.parse(serve([answer, OK])), 100) == b"hello"
    assert waits == [1.0]


@pytest.mark.parametrize("answer", [CUT, CUT_CHUNK, GARBAGE, NOTHING, BUSY, ODD_WAIT, BAD_CHUNK])
def test_what_does_not_pass_ends_in_one_line(serve: Serve, answer: bytes, waits: list[float]) -> None:
    url = serve([answer])
    with pytest.raises(UnavailableError) as caught:
        open_store(url)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"{url}/zarr.json: ")
    assert waits == [1.0, 2.0, 4.0]


def test_a_server_that_says_nothing(waits: list[float]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/x.zarr"
        with pytest.raises(UnavailableError, match="timed out"):
            read_address(Address.parse(url), 100, timeout=0.3)


HEADERS = b"HTTP/1.1 200 OK\r\n" + b"X-Filler: y\r\n" * 50
BODY = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + 1000 * b"z"
CHUNKS = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nz\r\n" * 200


@pytest.mark.parametrize("answer", [HEADERS, BODY, CHUNKS])
@pytest.mark.parametrize("at_once", [0, 10])
def test_a_server_that_trickles(answer: bytes, at_once: int, waits: list[float]) -> None:
    """No byte is late, but the whole would take for ever."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection, suppress(OSError):
                connection.recv(65536)
                connection.sendall(answer[:at_once])
                for byte in answer[at_once:]:
                    connection.sendall(bytes([byte]))
                    time.sleep(0.02)

        threading.Thread(target=serve, daemon=True).start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}/x.zarr"
        begun = time.monotonic()
        with pytest.raises(UnavailableError, match=rf"{url}: arrives at less than 1 kB/s: run .* later$"):
            read_address(Address.parse(url), 10**4, window=0.3)
        assert time.monotonic() - begun < 5
    assert waits == []


def test_a_pace_is_of_one_window_and_one_request() -> None:
    now = 0.0
    pace = Pace(60.0, lambda: now)

    def after(seconds: float, count: int) -> None:
        nonlocal now
        now += seconds
        pace.count(count)

    after(119.0, 1)  # the first byte: the server was thinking
    after(59.0, 1)
    after(1.0, 60_000)  # 1 kB/s, just about
    after(30.0, 10**9)  # what came before does not excuse what comes later
    after(30.0, 1)
    after(30.0, 1)
    pace.begin()  # another request on the same connection
    after(100.0, 1)
    after(30.0, 1)
    with pytest.raises(TooSlowError):
        after(30.0, 50_000)


def test_patience_ends(serve: Serve, waits: list[float]) -> None:
    with pytest.raises(UnavailableError):
        read_address(Address.parse(serve([BUSY])), 100, patience=0.0)
    assert waits == []


def test_more_than_there_may_be(serve: Serve) -> None:
    with pytest.raises(DamagedDataError, match="more than 4 bytes"):
        stream_address(Address.parse(serve([OK])), io.BytesIO(), 4)


def test_a_page_instead_of_a_root(serve: Serve) -> None:
    page = b"<html>log in</html>"
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(page) + page
    with pytest.raises(ClwmError, match=r"zarr\.json: is damaged"):
        open_store(serve([answer]))


@pytest.mark.parametrize(
    ("status", "kind"),
    [("404 None", NotFoundError), ("403 No", UnavailableError), ("418 Tea", UnavailableError)],
)
def test_refusals_are_not_repeated(
    serve: Serve, waits: list[float], status: str, kind: type[ClwmError]
) -> None:
    url = serve([f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode()])
    with pytest.raises(kind, match=f"the server answers {status}"):
        open_store(url)
    assert waits == []


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("https://host/a b/x.zarr/", "https://host/a%20b/x.zarr/zarr.json"),
        ("https://host/x.zarr/zarr.json", "https://host/x.zarr/zarr.json"),
        ("https://host/ä.zarr", "https://host/%C3%A4.zarr/zarr.json"),
        ("https://host/a%20b.zarr", "https://host/a%20b.zarr/zarr.json"),
        ("https://host/x.zarr?sig=a%2Bb&c=d e", "https://host/x.zarr/zarr.json?sig=a%2Bb&c=d%20e"),
        ("HTTPS://HOST:8443/x.zarr#part", "https://host:8443/x.zarr/zarr.json"),
        ("http://[::1]:80/x.zarr", "http://[::1]:80/x.zarr/zarr.json"),
        ("http://ä.example/x.zarr", "http://xn--4ca.example/x.zarr/zarr.json"),
        ("s3://bucket/a b/x.zarr/", "s3://bucket/a b/x.zarr/zarr.json"),
    ],
)
def test_addresses(text: str, url: str) -> None:
    parsed = Address.parse(text) / "zarr.json"
    assert parsed.url == url
    assert "sig" not in str(parsed)  # it may be a secret


@pytest.mark.parametrize(
    "text",
    [
        "https://host:x/x.zarr",
        "https://host:99999/x.zarr",
        "https:///x.zarr",
        "https://[::1/x.zarr",
        "https://ho st/x.zarr",
        "https://user:secret@host/x.zarr",
        f"https://{'ä' * 80}/x.zarr",
    ],
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        open_store(text)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "seconds"), [("7", 7.0), ("²", 0.0), ("", 0.0), ("-1", 0.0), ("9" * 5000, 0.0), ("Wed, 21", 0.0)]
)
def test_how_long_a_server_asks_to_wait(text: str, seconds: float) -> None:
    assert retry_after(text) == seconds
