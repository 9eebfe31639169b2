"""Calls of the Hub's own client: retries where they can help, and one clear line for every failure."""

from __future__ import annotations

import errno
import json
import logging
import os
import re
from collections.abc import Callable, Mapping
from time import monotonic, sleep
from typing import Any, TypeVar

import huggingface_hub
from huggingface_hub import HfApi, get_session, hf_hub_url, hf_raise_for_status
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
    XetDownloadError,
)
from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

from clwm_data.errors import (
    ClwmError,
    ConflictError,
    DamagedDataError,
    InvalidInputError,
    NotFoundError,
    UnavailableError,
)
from clwm_data.hub.reference import HubReference, Kind
from clwm_data.pace import Pace, TooSlowError
from clwm_data.store.address import retry_after

logger = logging.getLogger(__name__)

#: Seconds to wait before a call is repeated, if the Hub does not say how long.
WAITS = (1.0, 2.0, 4.0)
#: A longer wait than this is left to the user.
MAX_WAIT = 600.0
#: Waiting for longer than this is logged.
NOTICE = 5.0
#: A call that took longer than this until it failed is not repeated.
PATIENCE = 60.0
#: Seconds of silence that end a request; the Hub takes longer to process uploads.
READ_TIMEOUT, WRITE_TIMEOUT = 20.0, 120.0

#: Bytes that are sent at a time.
BLOCK = 2**15
#: Without this variable, files are transferred by HTTP. The Xet client may wait forever, and nothing here can
#: bound or interrupt it; set to 0, it is used.
XET = "HF_HUB_DISABLE_XET"

TOO_MANY_REQUESTS = 429
BUSY = (408, TOO_MANY_REQUESTS, 500, 502, 503, 504)
CONFLICT = (409, 412)

# The base of all errors of the HTTP client that huggingface_hub is built on (httpx or its successors).
_TRANSPORT_ERRORS: tuple[type[BaseException], ...] = (
    HfHubHTTPError.__bases__[0],
    ConnectionError,
    TimeoutError,
)
#: Errors of the Hub's client when a response does not come from a Hub.
_NONSENSE = (json.JSONDecodeError, KeyError, TypeError, AttributeError, IndexError)

# Errors that a call of the Hub's client may raise; its threads wrap them in a RuntimeError.
_ERRORS: tuple[type[BaseException], ...] = (
    *_TRANSPORT_ERRORS,
    *_NONSENSE,
    OSError,
    RuntimeError,
    ValueError,
    EntryNotFoundError,
    XetDownloadError,
)

Result = TypeVar("Result")


class UnreachableError(UnavailableError):
    """The Hub cannot be reached, must not be contacted (offline mode), or does not work."""


class NoRepositoryError(NotFoundError):
    """There is no such repository, or it is hidden from this login.

    Attributes:
        other_kind: kind of an existing repository of the same name.
    """

    other_kind: Kind | None = None


class ChangedMeanwhileError(ConflictError):
    """Somebody else changed the repository at the same time."""


class IncompleteError(OSError):
    """A file did not arrive whole."""


def call(subject: str, function: Callable[..., Result], *args: Any, **kwargs: Any) -> Result:
    """Call a function of the Hub's client; repeat it when the Hub is busy or the connection breaks.

    Args:
        subject: the repository, for messages.
        function: what to call.
        args: its arguments.
        kwargs: its arguments.

    Raises:
        ClwmError: it failed for good.
    """
    started = monotonic()
    for number in range(len(WAITS) + 1):
        try:
            if huggingface_hub.constants.is_offline_mode():
                raise OfflineModeIsEnabled
            _bound_waits()
            return function(*args, **kwargs)
        except TooSlowError as error:
            raise _translated(subject, error) from error
        except ClwmError:
            raise
        except _ERRORS as error:
            cause = _cause(error)
            # A RuntimeError comes from an uploading thread, which does its own retries.
            wait = None if isinstance(error, RuntimeError) else _retry_after(cause, number)
            impatient = monotonic() - started > PATIENCE
            if number == len(WAITS) or wait is None or wait > MAX_WAIT or impatient:
                raise _translated(subject, cause) from error
            if monotonic() - started > NOTICE and not isinstance(cause, HfHubHTTPError):
                logger.warning("%s: the Hub does not answer: trying again", subject)
            elif wait >= NOTICE:
                logger.warning("%s: the Hub asks to wait: going on in %.0f s", subject, wait)
            sleep(wait)
    raise AssertionError("unreachable")


def api() -> HfApi:
    """The Hub's client; it finds HF_TOKEN or the stored login by itself."""
    return HfApi(library_name="clwm")


def read_file(reference: HubReference, commit: str, path: str, limit: int) -> bytes:
    """The content of a small file of a repository; no cache is used.

    Raises:
        DamagedDataError: it has more than ``limit`` bytes.
        ClwmError: it cannot be downloaded.
    """
    url = hf_hub_url(reference.repository, path, repo_type=reference.kind, revision=commit)

    def read() -> bytes:
        text = bytearray()
        headers = build_hf_headers(library_name="clwm")
        with get_session().stream("GET", url, headers=headers, follow_redirects=True) as response:
            if response.status_code >= 400:
                response.read()
            hf_raise_for_status(response)
            for block in response.iter_bytes():
                text += block
                if len(text) > limit:
                    raise DamagedDataError(f"{reference}/{path}: has more than {limit} bytes")
        return bytes(text)

    return call(str(reference), read)


def _bound_waits() -> None:
    """Set timeouts for every request of the Hub's client, which otherwise waits forever."""
    if XET not in os.environ:
        huggingface_hub.constants.HF_HUB_DISABLE_XET = True
    session = get_session()
    hooks = session.event_hooks
    if _bound_wait not in hooks["request"]:
        session.event_hooks = {**hooks, "request": [*hooks["request"], _bound_wait]}


def _bound_wait(request: Any) -> None:
    seconds = READ_TIMEOUT if request.method in ("GET", "HEAD") else WRITE_TIMEOUT
    stated = request.extensions.get("timeout") or {}
    request.extensions["timeout"] = {
        part: seconds if stated.get(part) is None else stated[part]
        for part in ("connect", "read", "write", "pool")
    }
    request.extensions.setdefault("trace", _watch_connection)


def _watch_connection(event: str, info: dict[str, Any]) -> None:
    """Count what goes over a connection of the Hub's client, as soon as it is made."""
    if event.endswith(("connect_tcp.complete", "start_tls.complete")):
        stream, arriving, leaving = info["return_value"], Pace(), Pace(verb="is sent")
        read, write = stream.read, stream.write
        sending = False

        def counted_read(*args: Any, **kwargs: Any) -> bytes:
            nonlocal sending
            sending = False
            block: bytes = read(*args, **kwargs)
            arriving.count(len(block))
            return block

        def counted_write(buffer: bytes, timeout: float | None = None) -> None:
            nonlocal sending
            if not sending:  # a new request
                sending = True
                arriving.begin()
                leaving.begin()
                leaving.count(0)
            for start in range(0, len(buffer), BLOCK):
                part, since = buffer[start : start + BLOCK], monotonic()
                try:
                    write(part, leaving.window if timeout is None else min(timeout, leaving.window))
                except Exception as error:
                    if monotonic() - since >= leaving.window:  # not to be tried again and again
                        raise TooSlowError("is sent") from error
                    raise
                leaving.count(len(part))

        stream.read, stream.write = counted_read, counted_write


def _cause(error: BaseException) -> BaseException:
    """The underlying error: the Hub's client wraps errors of its threads and cache misses."""
    chain = [error]
    while chain[-1].__cause__ is not None:
        chain.append(chain[-1].__cause__)
    wrappers = (LocalEntryNotFoundError, RuntimeError)
    return next(
        (
            e
            for e in chain
            if isinstance(e, (*_TRANSPORT_ERRORS, OSError, TooSlowError)) and not isinstance(e, wrappers)
        ),
        error,
    )


def _retry_after(error: BaseException, number: int) -> float | None:
    """Seconds to wait before repeating a call, or ``None`` if that cannot help."""
    if isinstance(error, OfflineModeIsEnabled):
        return None
    wait = WAITS[min(number, len(WAITS) - 1)]
    if isinstance(error, HfHubHTTPError):
        if error.response.status_code not in BUSY:
            return None
        return max(_stated_wait(error.response.headers), wait)
    if isinstance(error, _TRANSPORT_ERRORS) or _is_inconsistent(error):
        return wait
    return None


def _stated_wait(headers: Mapping[str, str]) -> float:
    """Seconds that a server asks to wait for, 0 if none: ``Retry-After``, or, as the Hub says it,
    ``RateLimit: "api";r=0;t=55`` (draft-ietf-httpapi-ratelimit-headers)."""
    exhausted = re.search(r";\s*r=0\s*;\s*t=([0-9]{1,9})\b", headers.get("RateLimit", ""), re.ASCII)
    return max(retry_after(headers.get("Retry-After", "")), float(exhausted[1]) if exhausted else 0.0)


def _is_inconsistent(error: BaseException) -> bool:
    """Whether a file did not arrive whole, as found here or by the Hub's client."""
    return isinstance(error, IncompleteError) or (
        isinstance(error, OSError) and "Consistency check failed" in str(error)
    )


def _translated(subject: str, error: BaseException) -> ClwmError:
    if isinstance(error, OfflineModeIsEnabled):
        return UnreachableError(f"{subject}: HF_HUB_OFFLINE is set, so the Hub is not contacted: unset it")
    if isinstance(error, TooSlowError):
        return UnreachableError(f"{subject}: {error}; it resumes")
    if isinstance(error, HfHubHTTPError):
        return _translated_status(subject, error)
    if isinstance(error, HFValidationError):
        return InvalidInputError(f"{subject}: is not a name that the Hub accepts, such as user/repo")
    if _is_inconsistent(error):
        return UnavailableError(
            f"{subject}: a file arrives incomplete again and again: run the same command later"
        )
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return UnavailableError(
            f"{subject}: the disk is full: free space and run the same command again; it resumes"
        )
    hub = huggingface_hub.constants.ENDPOINT
    if isinstance(error, _TRANSPORT_ERRORS):
        return UnreachableError(
            f"{subject}: the Hub ({hub}) cannot be reached: check the network and run the same command "
            "again; it resumes"
        )
    if isinstance(error, _NONSENSE):
        return UnreachableError(
            f"{subject}: what answers at {hub} is not a Hub: check HF_ENDPOINT, and whether a proxy or a "
            "login page is in between"
        )
    return UnavailableError(f"{subject}: {_one_line(str(error) or type(error).__name__)}")


def _translated_status(subject: str, error: HfHubHTTPError) -> ClwmError:
    status = error.response.status_code
    said = _one_line(error.server_message or "")
    if isinstance(error, GatedRepoError):
        return UnavailableError(
            f"{subject}: access must be asked for on its page on the Hub: accept there, then log in"
        )
    if isinstance(error, RepositoryNotFoundError):
        return NoRepositoryError(
            f"{subject}: no such repository on the Hub, or it is private: check the name; `hf auth login` or "
            "HF_TOKEN shows private ones"
        )
    if isinstance(error, RevisionNotFoundError):
        return NotFoundError(f"{subject}: has no such revision: check the branch, tag or commit")
    if isinstance(error, EntryNotFoundError):
        return NotFoundError(
            f"{subject}: a file is missing in the repository: its upload may not be complete"
        )
    if status in CONFLICT:
        return ChangedMeanwhileError(
            f"{subject}: was changed by somebody else meanwhile: run the same command again"
        )
    kind, saying = {
        401: (UnavailableError, "the Hub does not accept the login: `hf auth login`, or set HF_TOKEN"),
        403: (UnavailableError, "the Hub forbids this to your login: use a token with the right to do it"),
        404: (NotFoundError, "no such thing on the Hub: check the name"),
        TOO_MANY_REQUESTS: (
            UnavailableError,
            "the Hub limits your requests: run the same command again later; it resumes",
        ),
    }.get(
        status,
        (UnreachableError, "the Hub has a problem: run the same command again later; it resumes")
        if status >= 500
        else (UnavailableError, "the Hub refuses the request"),
    )
    return kind(f"{subject}: {saying} ({status}{f': {said}' if said else ''})")


def _one_line(text: str) -> str:
    """A text of the server in one short line, with tokens masked."""
    return re.sub(r"hf_\w{8,}", "hf_...", " ".join(text.split()))[:200]
