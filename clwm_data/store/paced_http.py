"""HTTP by the standard library, with every byte of an answer counted, headers included."""

from __future__ import annotations

import io
from functools import partial
from http.client import HTTPConnection, HTTPResponse, HTTPSConnection
from typing import Any
from urllib.request import HTTPHandler, HTTPSHandler, Request, build_opener

from clwm_data.pace import Pace


def open_paced(request: Request, timeout: float, pace: Pace) -> Any:
    """As :func:`urllib.request.urlopen`.

    Args:
        request: what to ask for.
        timeout: seconds of silence that end the connection.
        pace: counts what arrives; its ``TooSlowError`` is raised here, and when the answer is read.
    """

    class Http(HTTPHandler):
        def http_open(self, request: Request) -> Any:
            return self.do_open(partial(_connection, HTTPConnection, pace), request)

    class Https(HTTPSHandler):
        def https_open(self, request: Request) -> Any:
            return self.do_open(partial(_connection, HTTPSConnection, pace), request)

    return build_opener(Http, Https).open(request, timeout=timeout)


def _connection(kind: type[HTTPConnection], pace: Pace, *arguments: Any, **options: Any) -> HTTPConnection:
    connection = kind(*arguments, **options)
    connection.response_class = partial(_PacedResponse, pace)  # type: ignore[assignment]
    return connection


class _PacedResponse(HTTPResponse):
    def __init__(self, pace: Pace, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        pace.begin()
        self.fp = io.BufferedReader(_PacedReader(self.fp.detach(), pace))


class _PacedReader(io.RawIOBase):
    """What arrives at a socket."""

    def __init__(self, raw: io.RawIOBase, pace: Pace) -> None:
        self._raw = raw
        self._pace = pace

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int | None:
        """Read what is there, and count it."""
        count = self._raw.readinto(buffer)
        self._pace.count(count or 0)
        return count

    def close(self) -> None:
        """Close the socket's file, too."""
        self._raw.close()
        super().close()
