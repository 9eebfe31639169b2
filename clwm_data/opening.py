"""Opening stores wherever they are: in a folder, at a web address, or on the Hub."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from clwm_data.errors import NotFoundError, UnavailableError
from clwm_data.hub.reference import HubReference, is_address, looks_like_reference, parse_reference
from clwm_data.paths import SUFFIX, real_path
from clwm_data.store.format import METADATA
from clwm_data.store.reader import Store, open_local
from clwm_data.store.replacement import settle
from clwm_data.suggestions import suggestion

if TYPE_CHECKING:
    from clwm_data.store.cached import ArrivalCallback

#: Where the commands keep stores and runs unless they are told otherwise.
DATA, RUNS = Path("data"), Path("runs")

#: A folder, a dataset of the Hub, or another address.
Located = Path | HubReference | str


def open_store(path: str | Path | Store) -> Store:
    """Open a store for reading; no array is read yet. One that is open already is returned as it is.

    Args:
        path: its folder; ``user/repo[@revision]`` or ``hf://datasets/user/repo[@revision][/x.zarr]`` on the
            Hub; ``https://...``; ``s3://...`` or any other address that fsspec supports. The files of a task
            that is not on this machine are downloaded to the cache when its arrays are first used.

    Raises:
        NotFoundError: there is no store.
        InvalidInputError: the text is neither a path nor an address.
        DamagedDataError: the metadata contradicts itself.
        UnavailableError: it cannot be downloaded now.
    """
    return path if isinstance(path, Store) else open_located(locate(path), str(path))


def open_located(located: Located, text: str) -> Store:
    """Open what :func:`locate` returned for a text; errors as :func:`open_store`."""
    if isinstance(located, Path):
        return open_local(located)
    if isinstance(located, HubReference):
        from clwm_data.hub.cache import open_remote  # the Hub's client takes half a second to import

        with explaining_hub_errors(located, text):
            return open_remote(located)
    from clwm_data.store.remote import open_url

    return open_url(located)


def download_located(located: Located, text: str, on_progress: ArrivalCallback | None = None) -> Path:
    """The folder of what :func:`locate` returned for a text, once all of the store is on this machine.

    Raises:
        ClwmError: as :func:`open_store`, or the disk is full.
    """
    if isinstance(located, Path):
        return located
    if isinstance(located, HubReference):
        from clwm_data.hub.cache import cached_store

        with explaining_hub_errors(located, text):
            return cached_store(located, on_progress)
    from clwm_data.store.remote import cached_url

    return cached_url(located, on_progress)


def locate(text: str | Path, folder: Path | None = None) -> Located:
    """What the text that names a store refers to; no server is asked.

    A text that exists as a path is never taken for anything else.

    Args:
        text: as for :func:`open_store`, or the name of a store in ``folder``.
        folder: where stores are found by their names.

    Raises:
        NotFoundError: it is a path that does not exist.
        InvalidInputError: it is neither a path nor an address.
    """
    if isinstance(text, Path):  # Path has dropped a slash of an address
        return locate(re.sub(r"^([a-z][a-z0-9+.-]+):/(?!/)", r"\1://", str(text)), folder)
    if text.startswith("file://"):
        from urllib.request import url2pathname  # here, since it imports HTTP and TLS

        return real_path(url2pathname(urlsplit(text).path))
    if is_address(text):
        return parse_reference(text)
    if "://" in text:
        return text
    path = _local(text, folder)
    if path is not None:
        return path
    if looks_like_reference(text) and not is_meant_as_path(text):
        return parse_reference(text)
    raise _no_store(text, folder, " nor user/repo on the Hub")


def locate_here(text: str | Path, folder: Path | None = None) -> Path:
    """The folder of a store on this machine; arguments as for :func:`locate`.

    Raises:
        NotFoundError: there is no such store.
    """
    path = None if "://" in str(text) else _local(str(text), folder)
    if path is None:
        raise _no_store(str(text), folder, "")
    return path


def stores_in(folder: Path) -> list[Path]:
    """What in a folder can be named as a store there, with ``.zarr`` or without, in the order of names."""
    entries = folder.iterdir() if folder.is_dir() else ()
    return sorted(path for path in entries if path.suffix == SUFFIX or (path / METADATA).is_file())


def is_meant_as_path(text: str) -> bool:
    """Whether a text that could name a repository is more likely a mistyped path."""
    first = text.split("/")[0]
    return first in (str(DATA), str(RUNS), "", ".", "..", "~") or Path(first).is_dir()


@contextmanager
def explaining_hub_errors(reference: HubReference, text: str) -> Iterator[None]:
    """A block whose errors of the Hub also say that the text might have been meant as a path."""
    try:
        yield
    except (NotFoundError, UnavailableError) as error:
        if is_address(text):
            raise
        raise type(error)(f"no path {text!r} here, so it was taken as a name on the Hub: {error}") from error


def _local(text: str, folder: Path | None) -> Path | None:
    path = _settled(text)
    if (path / METADATA).is_file():
        return path
    if folder is not None and Path(text).name == text:
        # A folder of the same name that is not a store does not hide it.
        for name in dict.fromkeys((text if text.endswith(SUFFIX) else f"{text}{SUFFIX}", f"{text}{SUFFIX}")):
            if (named := _settled(folder / name)).exists():
                return named
        # What was collected with --out may lack the suffix.
        if ((named := _settled(folder / text)) / METADATA).is_file():
            return named
    if not path.exists() and Path(text).is_symlink():
        raise NotFoundError(f"{text}: is a link to {Path(text).readlink()}, where nothing is")
    return path if path.exists() else None


def _settled(path: str | Path) -> Path:
    """The real path, after a killed replacement there has been completed or undone."""
    folder = real_path(path)
    settle(folder)
    return folder


def _no_store(text: str, folder: Path | None, elsewhere: str) -> NotFoundError:
    if folder is None:
        named = DATA / f"{text.removesuffix(SUFFIX)}{SUFFIX}"
        hint = f": did you mean {named.as_posix()}?" if named.exists() else ""
        return NotFoundError(f"no store {text!r}: neither a path{elsewhere}{hint}")
    names = [path.name.removesuffix(SUFFIX) for path in stores_in(folder)]
    hint = f"stores under {folder}/: {', '.join(names)}" if names else "`clwm collect MANIFEST` makes one"
    if close := suggestion(Path(text).name.removesuffix(SUFFIX), names):
        hint = f"{close} ({hint})"
    return NotFoundError(f"no store {text!r}, neither a path nor under {folder}/{elsewhere}: {hint}")
