"""Stores on a web server or in object storage.

Nothing is trusted: the root is checked like that of any store, and every file must have the size and the
digest that the root records.
"""

from __future__ import annotations

import hashlib
import logging
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from clwm_data.bounded import read_bounded
from clwm_data.cache import cache_folder
from clwm_data.errors import DamagedDataError, UnavailableError
from clwm_data.store.address import Address, read_address, stream_address
from clwm_data.store.atomic import replacing
from clwm_data.store.cached import ArrivalCallback, CachedStore, ExpectedFile, is_sound, recorded_files
from clwm_data.store.format import METADATA
from clwm_data.store.reader import Store
from clwm_data.store.root import MAX_METADATA_BYTES, Root, parse_root

logger = logging.getLogger(__name__)

#: Name of a published root in the cache.
ROOT = "root.json"


def open_url(url: str) -> Store:
    """Open a store at ``https://``, ``http://`` or an address that fsspec knows, such as ``s3://bucket/x.zarr``.

    Raises:
        UnavailableError: it cannot be reached.
        NotFoundError: there is no store at the address.
        DamagedDataError: what is there is not the root of a store, or differs from its own digest.
    """
    return _cached(url).open()


def cached_url(url: str, on_progress: ArrivalCallback | None = None) -> Path:
    """The folder of a store at an address, once all of it is downloaded.

    Raises:
        ClwmError: as :func:`open_url`, or it does not fit on the disk.
    """
    return _cached(url).complete(on_progress)


@dataclass(frozen=True)
class WebSource:
    """The files of a store at an address."""

    address: Address
    root: Root

    def __str__(self) -> str:
        return str(self.address)

    def files(self, index: int) -> dict[str, ExpectedFile]:
        """The files that the root lists."""
        return recorded_files(self.root, index, str(self))

    def download(self, path: str, expected: ExpectedFile, target: Path) -> None:
        """Download a file; errors as :func:`open_url`."""
        address = self.address / path
        limit = MAX_METADATA_BYTES if expected.bytes is None else expected.bytes
        with replacing(target) as temporary:
            with temporary.open("wb") as out:
                stream_address(address, out, limit)
            if not is_sound(temporary, expected):
                raise DamagedDataError(
                    f"{address}: what arrives does not have the digest that the root records: try again"
                )


def _cached(url: str) -> CachedStore:
    address = Address.parse(url)
    folder = cache_folder("web")
    note = folder / "addresses" / hashlib.sha256(str(address).encode()).hexdigest()[:32]
    try:
        text = read_address(address / METADATA, MAX_METADATA_BYTES)
    except UnavailableError as error:
        if (root := _remembered(note, folder, address)) is None:
            raise
        logger.warning("%s; what was downloaded before is used", error)
    else:
        root = _checked(text, address)
        _remember(note, folder, root)
    place = _place(folder, root.record.root_sha256)
    return CachedStore(place / f"{root.record.manifest.name}.zarr", root, WebSource(address, root))


def _checked(text: bytes, address: Address) -> Root:
    root = parse_root(text, str(address))
    root.verify(str(address))
    return root


def _place(folder: Path, digest: str) -> Path:
    return folder / digest[:32]


def _remember(note: Path, folder: Path, root: Root) -> None:
    """Record what an address holds, for when it cannot be reached, if the cache can be written."""
    digest = root.record.root_sha256
    with suppress(OSError):
        for path, text in ((_place(folder, digest) / ROOT, root.text), (note, digest.encode())):
            if not path.is_file() or read_bounded(path) != text:
                path.parent.mkdir(parents=True, exist_ok=True)
                with replacing(path) as temporary:
                    temporary.write_bytes(text)


def _remembered(note: Path, folder: Path, address: Address) -> Root | None:
    try:
        digest = read_bounded(note).decode("ascii")
        root = _checked(read_bounded(_place(folder, digest) / ROOT), address)
    except (OSError, ValueError):  # nothing is recorded, or it is damaged
        return None
    return root if root.record.root_sha256 == digest else None
