"""Stores of the Hub in the cache: each file is downloaded once, when it is needed."""

from __future__ import annotations

from pathlib import Path

from clwm_data.hub.fetch import HubSource
from clwm_data.hub.memory import Memory
from clwm_data.hub.published import PublishedStore, find_one, store_cache
from clwm_data.hub.reference import HubReference
from clwm_data.store.cached import ArrivalCallback, CachedStore
from clwm_data.store.reader import Store


def cached_store(reference: HubReference, on_progress: ArrivalCallback | None = None) -> Path:
    """The folder of a published store in the cache, once all of it is downloaded.

    Raises:
        ClwmError: it cannot be downloaded, and is not in the cache.
    """
    return _cached(find_one(reference)).complete(on_progress)


def open_remote(reference: HubReference) -> Store:
    """A published store: its metadata is read now, a task is downloaded when its arrays are first used.

    Raises:
        ClwmError: it cannot be read.
    """
    return _cached(find_one(reference)).open()


def _cached(published: PublishedStore) -> CachedStore:
    place = store_cache(Memory.of(published.reference), published.root.record.root_sha256)
    return CachedStore(place / published.folder, published.root, HubSource(published), published.origin)
