"""Reading files from the web and from object storage: bounded retries, and one line for every failure."""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from http.client import HTTPException, IncompleteRead
from time import monotonic, sleep
from typing import IO, Any, Protocol
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlsplit, urlunsplit
from urllib.request import Request

from clwm_data.errors import ClwmError, DamagedDataError, InvalidInputError, NotFoundError, UnavailableError
from clwm_data.pace import WINDOW_SECONDS, Pace, TooSlowError
from clwm_data.store.paced_http import open_paced

logger = logging.getLogger(__name__)

#: Seconds of silence that end a connection.
TIMEOUT_SECONDS = 30.0
#: Seconds to wait before a file is asked for again.
WAITS = (1.0, 2.0, 4.0)
#: No retry begins after this many seconds.
PATIENCE_SECONDS = 60.0
BLOCK = 2**20
#: HTTP statuses after which another attempt may succeed.
BUSY = (408, 429, 500, 502, 503, 504)


@dataclass(frozen=True)
class Address:
    """Location of a file or a folder. ``str``, for messages, leaves out the query, which may hold a secret.

    Attributes:
        base: scheme, host and path.
        query: of a web address, such as a signature, which is sent with every request.
    """

    base: str
    query: str = ""

    def __str__(self) -> str:
        return self.base

    def __truediv__(self, path: str) -> Address:
        return replace(self, base=f"{self.base}/{path}")

    @property
    def url(self) -> str:
        """The whole address."""
        return f"{self.base}?{self.query}" if self.query else self.base

    @property
    def is_web(self) -> bool:
        """Whether it is read by HTTP."""
        return self.base.startswith(("http://", "https://"))

    @classmethod
    def parse(cls, text: str) -> Address:
        """The address of a store's folder, with characters that a URL cannot hold encoded.

        Raises:
            InvalidInputError: the text is not an address.
        """
        shown = text.split("?")[0]
        try:
            parts = urlsplit(text)
            if parts.scheme.lower() not in ("http", "https"):
                return cls(text.rstrip("/"))
            host = (parts.hostname or "").encode("idna" if not (parts.hostname or "").isascii() else "ascii")
            port = "" if parts.port is None else f":{parts.port}"
        except ValueError as error:  # also for impossible host names
            raise InvalidInputError(f"{shown.split('@')[-1]}: is not an address: {error}") from error
        if parts.username is not None:
            raise InvalidInputError(f"{parts.hostname}: an address with a login in it is not supported")
        if not host or re.search(rb"[^A-Za-z0-9.:_-]", host):
            raise InvalidInputError(f"{shown}: is not an address: it names no host")
        name = host.decode()
        name = f"[{name}]" if ":" in name else name
        path = quote(parts.path, safe="/%:@!$&'()*+,;=~").rstrip("/").removesuffix("/zarr.json")
        query = quote(parts.query, safe="/%:@!$&'()*+,;=~?")
        return cls(urlunsplit((parts.scheme.lower(), f"{name}{port}", path, "", "")), query)


class Readable(Protocol):
    """The part of a file's interface that is used here."""

    def read(self, size: int, /) -> bytes:
        """Up to ``size`` bytes."""


def read_address(
    address: Address,
    limit: int,
    *,
    timeout: float = TIMEOUT_SECONDS,
    patience: float = PATIENCE_SECONDS,
    window: float = WINDOW_SECONDS,
) -> bytes:
    """The content of a small file.

    Raises:
        ClwmError: as :func:`stream_address`.
    """
    out = io.BytesIO()
    stream_address(address, out, limit, timeout=timeout, patience=patience, window=window)
    return out.getvalue()


def stream_address(
    address: Address,
    out: IO[bytes],
    limit: int,
    *,
    timeout: float = TIMEOUT_SECONDS,
    patience: float = PATIENCE_SECONDS,
    window: float = WINDOW_SECONDS,
) -> None:
    """Copy a file to ``out``; after a broken connection the copy starts again.

    Args:
        address: of the file.
        out: a file that can be truncated.
        limit: maximum number of bytes.
        timeout: seconds of silence that end a connection.
        patience: seconds after which no retry begins.
        window: seconds over which a download may be very slow.

    Raises:
        NotFoundError: there is no such file.
        DamagedDataError: it has more than ``limit`` bytes.
        UnavailableError: it cannot be downloaded now.
    """
    started = monotonic()
    for number in range(len(WAITS) + 1):
        out.seek(0)
        out.truncate()
        try:
            with _opened(address, timeout, Pace(window)) as (stream, size):
                _copy(address, stream, size, out, limit)
            return
        except TooSlowError as error:
            raise UnavailableError(f"{address}: {error}") from error
        except ClwmError:
            raise
        except Exception as error:
            wait = _wait(error, number)
            if wait is None or monotonic() + wait - started > patience:
                raise _translated(address, error) from error
            logger.warning("%s: %s: trying again in %.0f s", address, _reason(error), wait)
        sleep(wait)


def retry_after(text: str) -> float:
    """Seconds that a server asks to wait for; 0 if it does not say so intelligibly."""
    return float(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0.0


@contextmanager
def _opened(address: Address, timeout: float, pace: Pace) -> Iterator[tuple[Readable, int | None]]:
    """The bytes at an address, and their number if the server states it."""
    if address.is_web:
        request = Request(address.url, headers={"User-Agent": "clwm"})
        with open_paced(request, timeout, pace) as stream:
            size = stream.headers.get("Content-Length", "")
            yield stream, int(size) if size.isascii() and size.isdigit() else None
    else:
        with _fsspec_open(address) as stream:
            yield stream, None


def _copy(address: Address, stream: Readable, size: int | None, out: IO[bytes], limit: int) -> None:
    received = 0
    while block := stream.read(BLOCK):
        received += len(block)
        if received > limit:
            raise DamagedDataError(f"{address}: has more than {limit} bytes, which is the limit")
        out.write(block)
    if size is not None and received < size:
        raise IncompleteRead(b"", size - received)


def _wait(error: Exception, number: int) -> float | None:
    """Seconds before the next attempt; ``None`` if another one cannot help, or none is left."""
    if number == len(WAITS):
        return None
    if isinstance(error, HTTPError):
        if error.code not in BUSY:
            return None
        return max(WAITS[number], retry_after(error.headers.get("Retry-After", "")))
    if isinstance(error, URLError) and isinstance(error.reason, ConnectionRefusedError):
        return None
    return (
        WAITS[number] if isinstance(error, (ConnectionError, TimeoutError, HTTPException, URLError)) else None
    )


def _translated(address: Address, error: Exception) -> ClwmError:
    if isinstance(error, HTTPError):
        line = f"{address}: the server answers {_reason(error)}"
        if error.code in (404, 410):
            return NotFoundError(line)
        return UnavailableError(f"{line}: it may need a login" if error.code in (401, 403) else line)
    if isinstance(error, FileNotFoundError):
        return NotFoundError(f"{address}: cannot be read: nothing is there")
    verb = "reached" if isinstance(error, URLError) else "read"
    return UnavailableError(f"{address}: cannot be {verb}: {_reason(error)}")


def _reason(error: Exception) -> str:
    if isinstance(error, HTTPError):
        text = f"{error.code} {error.reason}"
    elif isinstance(error, URLError):
        text = str(error.reason)
    elif isinstance(error, IncompleteRead):
        text = "the connection broke"
    elif isinstance(error, HTTPException):
        text = f"the server does not speak HTTP ({type(error).__name__})"
    else:
        text = str(error)
    return " ".join(text.split())[:200] or type(error).__name__


def _fsspec_open(address: Address) -> Any:
    import fsspec  # a dependency of the Hub's client, imported only where it is used

    try:
        return fsspec.open(address.url, "rb")
    except ImportError as error:
        raise UnavailableError(f"{address}: {_reason(error)}") from error
    except ValueError as error:
        scheme = address.base.split("://")[0]
        raise InvalidInputError(
            f"{address}: {scheme}:// is not an address that can be read: {error}"
        ) from error
