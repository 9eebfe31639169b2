"""The front door of stores: a folder, an address on the web or a dataset of the Hub becomes a ``Store``."""

from __future__ import annotations

from pathlib import Path

from clwm_data.store.reader import Store, open_local


def open_store(path: str | Path) -> Store:
    """Open a store for reading; no array is read yet.

    Args:
        path: its folder, or an address: ``hf://datasets/user/repo[@revision][/x.zarr]``, ``https://...`` or
            ``s3://...``. The files of a task at an address are downloaded, and kept, when they are asked for.

    Raises:
        ClwmError: no store there, or one that this version of clwm cannot read.
    """
    if isinstance(path, str) and path.startswith("hf://"):
        from clwm_data.hub.cache import open_remote  # the Hub's client takes half a second to import
        from clwm_data.hub.reference import parse_reference

        return open_remote(parse_reference(path))
    if isinstance(path, str) and "://" in path:
        from clwm_data.store.remote import open_url

        return open_url(path)
    return open_local(Path(path))
