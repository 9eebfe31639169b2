"""Whether a push may replace what is published: only an ancestor of the pushed store may be replaced.

The ancestors of a store are known from its origin, if it was downloaded, and from records of earlier pushes
of the same folder, which the cache keeps.
"""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

import huggingface_hub

from clwm_data.bounded import read_bounded
from clwm_data.cache import cache_folder
from clwm_data.errors import ClwmError
from clwm_data.hub.published import open_published
from clwm_data.hub.reference import HubReference
from clwm_data.paths import store_file
from clwm_data.ranges import task_list
from clwm_data.store.atomic import write_json
from clwm_data.store.digest import json_sha256
from clwm_data.store.reader import Store
from clwm_data.store.root import Root


def reasons_against(store: Store, root: Root, reference: HubReference, head: str) -> list[str]:
    """Why a push of a store would lose something that is published; empty if it would not.

    Args:
        store: to be pushed.
        root: as it would be published.
        reference: the repository, with the branch as its revision.
        head: commit of the branch, which holds a store of that name.
    """
    folder = store_file(store.name)
    try:
        published = open_published(reference, head, folder).root
    except ClwmError as error:
        return [f"{folder} is published there already, and cannot be read ({error})"]
    reasons = []
    if absent := sorted(int(key) for key in published.record.tasks.keys() - root.record.tasks.keys()):
        reasons.append(
            f"{store.path} does not hold the published {task_list(absent)}, which would be deleted"
        )
    if not (_extends(root, published) or _descends(store, root, published, reference)):
        reasons.append(
            f"the published {folder} is neither what {store.path} was downloaded from nor what was pushed "
            "from it last, and would be replaced"
        )
    return reasons


def remember_push(store: Store, root: Root, reference: HubReference) -> None:
    """Record a push in the cache. If that cannot be written, the next push needs ``replace``."""
    pushes = _pushes(store, reference)
    digest = root.record.root_sha256
    if pushes[-1:] != [digest]:
        note = _note(store, reference)
        with suppress(OSError, ClwmError):
            note.parent.mkdir(parents=True, exist_ok=True)
            write_json(note, [*(push for push in pushes if push != digest), digest])


def _extends(root: Root, published: Root) -> bool:
    """Whether a store is the published one, with or without additional tasks."""
    ours, theirs = root.record, published.record
    return theirs.tasks.items() <= ours.tasks.items() and (
        ours.manifest.model_copy(update={"tasks": "all"})
        == theirs.manifest.model_copy(update={"tasks": "all"})
    )


def _descends(store: Store, root: Root, published: Root, reference: HubReference) -> bool:
    """Whether a store was made from the published one, and is not an earlier state of it."""
    digest, pushes = published.record.root_sha256, _pushes(store, reference)
    if store.origin is not None and store.origin.root_sha256 == digest:
        return True
    return digest in pushes and root.record.root_sha256 not in pushes[: pushes.index(digest)]


def _pushes(store: Store, reference: HubReference) -> list[str]:
    """Digests of the roots that were published from a store's folder on a branch, the last one last."""
    with suppress(OSError, ValueError):
        pushes = json.loads(read_bounded(_note(store, reference)))
        if isinstance(pushes, list):
            return [push for push in pushes if isinstance(push, str)]
    return []


def _note(store: Store, reference: HubReference) -> Path:
    parts = [huggingface_hub.constants.ENDPOINT, str(reference), store.name, str(store.path.resolve())]
    return cache_folder("pushed") / f"{json_sha256(parts)[:32]}.json"
