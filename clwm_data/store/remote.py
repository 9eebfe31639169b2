"""Stores on a web server or in object storage: metadata at once, a task when its arrays are asked for.

Nothing is trusted: the root is checked as that of any store, and every file must have the size and the digest
that the root says. What arrived stays in a cache that is keyed by the root's digest, so a store that changes
at its address never mixes with what it was before.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from clwm_data.errors import ClwmError
from clwm_data.store.atomic import replacing
from clwm_data.store.digest import file_sha256
from clwm_data.store.format import METADATA, TASKS, FileRecord, task_folder
from clwm_data.store.reader import Store
from clwm_data.store.root import MAX_METADATA_BYTES, parse_root

TIMEOUT_SECONDS = 30.0
DOWNLOADS = 8
BLOCK = 2**20


def open_url(url: str) -> Store:
    """Open a store at ``https://``, ``http://`` or an address that fsspec knows, such as ``s3://bucket/x.zarr``.

    Raises:
        ClwmError: it cannot be reached or read, or its root differs from its own digest.
    """
    url = url.rstrip("/")
    with _reading(f"{url}/{METADATA}") as stream:
        text = stream.read(MAX_METADATA_BYTES + 1)
    if len(text) > MAX_METADATA_BYTES:
        raise ClwmError(f"{url}/{METADATA}: has more than {MAX_METADATA_BYTES} bytes")
    root = parse_root(text, url)
    root.verify(url)
    path = _cache() / root.record.root_sha256 / f"{root.record.manifest.name}.zarr"

    def fetch(index: int) -> None:
        group = f"{TASKS}/{task_folder(index)}"
        files = root.task(index, url)[0].files
        with ThreadPoolExecutor(DOWNLOADS) as pool:
            list(
                pool.map(
                    lambda name: _fetch(f"{url}/{group}/{name}", path / group / name, files[name]), files
                )
            )

    return Store(path, root, fetch)


def _fetch(url: str, target: Path, record: FileRecord) -> None:
    """Have one file in the cache, checked."""
    if target.is_file() and target.stat().st_size == record.bytes and file_sha256(target) == record.sha256:
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    digest, left = hashlib.sha256(), record.bytes
    with _reading(url) as stream, replacing(target) as temporary, temporary.open("wb") as out:
        while block := stream.read(min(BLOCK, left + 1)):
            left -= len(block)
            if left < 0:
                break
            digest.update(block)
            out.write(block)
        if left or digest.hexdigest() != record.sha256:
            raise ClwmError(f"{url}: what arrives does not have the digest that the store says: try again")


@contextmanager
def _reading(url: str) -> Iterator[IO[bytes]]:
    """The bytes at an address.

    Raises:
        ClwmError: in one line, what went wrong.
    """
    scheme = url.split("://")[0].lower()
    try:
        if scheme in ("http", "https"):
            with urlopen(Request(url, headers={"User-Agent": "clwm"}), timeout=TIMEOUT_SECONDS) as stream:
                yield stream
        else:
            with _fsspec_open(url, scheme) as stream:
                yield stream
    except HTTPError as error:
        raise ClwmError(f"{url}: the server answers {error.code} {error.reason}") from error
    except URLError as error:
        raise ClwmError(f"{url}: cannot be reached: {error.reason}") from error
    except (OSError, ValueError) as error:
        raise ClwmError(
            f"{url}: cannot be read: {' '.join(str(error).split()) or type(error).__name__}"
        ) from error


def _fsspec_open(url: str, scheme: str) -> Any:
    import fsspec  # a dependency of the Hub's client, imported only where it is used

    try:
        return fsspec.open(url, "rb")
    except ImportError as error:
        raise ClwmError(f"{url}: {' '.join(str(error).split())}") from error
    except ValueError as error:
        raise ClwmError(f"{url}: {scheme}:// is not an address that can be read: {error}") from error


def _cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "clwm" / "stores"
