"""Stores of the Hub that were asked for by name: downloaded once, beside the Hub's own cache.

The cache is keyed by what was published, not by the name of a revision: the same data is never downloaded
twice, and two versions never meet in one folder.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import huggingface_hub
from huggingface_hub import cached_assets_path

from clwm_data.errors import ClwmError
from clwm_data.hub.published import PublishedStore, find_one
from clwm_data.hub.pull import Progress, pull
from clwm_data.hub.reference import HubReference
from clwm_data.store.atomic import write_json
from clwm_data.store.reader import Store, open_local
from clwm_data.store.root import parse_json

REFERENCES = "references.json"


def cached_store(reference: HubReference, progress: Progress | None = None) -> Path:
    """A published store, downloaded into the cache and complete.

    With HF_HUB_OFFLINE the Hub is not asked, and what the reference meant the last time is used.

    Raises:
        ClwmError: it cannot be downloaded, or offline, it is not in the cache.
    """
    if huggingface_hub.constants.is_offline_mode():
        return _folder(reference) / remembered(reference)
    published = find_one(reference)
    path = cache_path(published)
    pull(published, path, progress=progress)
    remember(reference, path.relative_to(_folder(reference)).as_posix())
    return path


def open_remote(reference: HubReference) -> Store:
    """A published store of which only the metadata is read; a task is downloaded when its arrays are.

    Raises:
        ClwmError: it cannot be read.
    """
    if huggingface_hub.constants.is_offline_mode():
        return open_local(_folder(reference) / remembered(reference))
    published = find_one(reference)
    path = cache_path(published)
    return Store(path, published.root, lambda index: pull(published, path, tasks=[index]))


def cache_path(published: PublishedStore) -> Path:
    """Where a published store is cached."""
    folder = _folder(published.reference) / published.root.record.root_sha256[:16]
    return folder / published.folder


def _folder(reference: HubReference) -> Path:
    return cached_assets_path(
        "clwm",
        namespace=f"{reference.kind}s",
        subfolder=reference.repository.replace("/", "--"),
        assets_dir=huggingface_hub.constants.HF_ASSETS_CACHE,
    )


def remember(reference: HubReference, what: str) -> None:
    """Note what a reference stood for when it was downloaded completely."""
    file = _folder(reference) / REFERENCES
    known = _known(reference)
    if known.get(str(reference)) != what:
        write_json(file, {**known, str(reference): what})


def remembered(reference: HubReference) -> str:
    """What a reference stood for the last time.

    Raises:
        ClwmError: it was never downloaded completely.
    """
    what = _known(reference).get(str(reference))
    if not isinstance(what, str):
        raise ClwmError(f"{reference}: HF_HUB_OFFLINE is set and it was not downloaded before: unset it")
    return what


def _known(reference: HubReference) -> dict[str, Any]:
    file = _folder(reference) / REFERENCES
    return parse_json(file.read_bytes(), str(file)) if file.is_file() else {}
