"""What people mean by a store: a path, a name under ``data/``, or something on the Hub."""

from __future__ import annotations

from pathlib import Path

from clwm_data.errors import ClwmError
from clwm_data.hub.reference import PREFIX, HubReference, looks_like_reference, parse_reference
from clwm_data.store.reader import Store, open_store

SUFFIX = ".zarr"


def locate(text: str, folder: Path) -> Path | HubReference:
    """What a STORE argument means; the Hub is not asked.

    Args:
        text: a path, the name of a store in ``folder``, ``user/repo[@revision]`` or
            ``hf://datasets/user/repo[@revision][/x.zarr]``. A path that is there is never looked for on the Hub.
        folder: where stores lie.

    Raises:
        ClwmError: it is none of these.
    """
    path = Path(text)
    if not text.startswith(PREFIX):
        if path.exists():
            return path
        if path.name == text and (named := folder / f"{text.removesuffix(SUFFIX)}{SUFFIX}").exists():
            return named
    # In "data/nowhere" somebody misspelt a path: that is no business of the Hub's.
    if looks_like_reference(text) and (text.startswith(PREFIX) or not path.parent.exists()):
        return parse_reference(text)
    there = sorted(entry.stem for entry in folder.glob(f"*{SUFFIX}")) if folder.is_dir() else []
    hint = f"stores under {folder}/: {', '.join(there)}" if there else "`clwm collect MANIFEST` makes one"
    raise ClwmError(f"no store {text!r}, neither a path nor under {folder}/ nor user/repo on the Hub: {hint}")


def find_store(text: str, folder: Path) -> Path:
    """The folder of the store that is meant; one on the Hub is downloaded into the cache.

    Raises:
        ClwmError: there is none, or it cannot be downloaded.
    """
    located = locate(text, folder)
    if isinstance(located, Path):
        return located
    from clwm_data.hub.cache import cached_store  # the Hub's client takes half a second to import

    return cached_store(located)


def open_located(text: str, folder: Path) -> Store:
    """The store that is meant, for a look: of one on the Hub only the metadata is read.

    Raises:
        ClwmError: there is none, or it cannot be read.
    """
    located = locate(text, folder)
    if isinstance(located, Path):
        return open_store(located)
    from clwm_data.hub.cache import open_remote

    return open_remote(located)
