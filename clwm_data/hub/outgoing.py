"""The metadata of a store as it is published: without the folders and logins of this machine."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

from clwm_data.errors import InvalidInputError
from clwm_data.manifest import Manifest
from clwm_data.store.command_line import without_folder, without_folders
from clwm_data.store.digest import root_sha256
from clwm_data.store.reader import Store
from clwm_data.store.root import Root, parse_root

#: The author that earlier manifests of clwm credited for whatever anybody collected with them.
NOBODY = "The clwm authors"


def file_name(text: str) -> str:
    """The last part of a path; a plain name is unchanged."""
    return PurePath(text.replace("\\", "/")).name if text else text


def credited(manifest: Manifest, authors: Sequence[str], licence: str | None) -> Manifest:
    """A manifest with the authors and the licence to publish it under.

    Args:
        manifest: of a store.
        authors: to credit; if empty, those that the manifest names.
        licence: SPDX identifier; if ``None``, that of the manifest.
    """
    unnamed = manifest.authors == [NOBODY]
    return manifest.model_copy(
        update={
            "authors": list(authors) or ([] if unnamed else manifest.authors),
            "licence": licence or (None if unnamed else manifest.licence),
        }
    )


def outgoing_root(store: Store, manifest: Manifest) -> Root:
    """The root of a store as it is published; the store's own root if nothing has to change.

    Args:
        store: to be published.
        manifest: as it is published.

    Raises:
        InvalidInputError: a task's own metadata, which cannot be changed, names a folder of this machine.
    """
    for index, task in store.tasks.items():
        for entry in task.record.behaviours:
            if entry.zoo is not None and entry.zoo != file_name(entry.zoo):
                raise InvalidInputError(
                    f"{store.path}: task {index}: its metadata names the folder {entry.zoo} of this machine: "
                    "collect it again with this version of clwm"
                )
    attributes = store.root.document["attributes"]
    changed = {} if manifest == store.manifest else {"manifest": manifest.model_dump(mode="json")}
    outgoing = _scrubbed({**attributes, **changed})
    if outgoing == attributes:
        return store.root
    document = {**store.root.document, "attributes": outgoing}
    outgoing["root_sha256"] = root_sha256(document)
    return parse_root(json.dumps(document, indent=1, allow_nan=False).encode(), str(store.path))


def without_paths(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of a declared family that name no folder of this machine."""
    return {
        name: without_folder(value) if isinstance(value, str) else value for name, value in arguments.items()
    }


def _scrubbed(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes of a root, or of a source that it was made from, without the folders of this machine."""
    result = dict(attributes)
    if (manifest := result.get("manifest")) is not None:
        behaviours = [
            {**entry, "zoo": file_name(entry["zoo"])} if entry.get("zoo") else entry
            for entry in manifest["behaviours"]
        ]
        result["manifest"] = {**manifest, "behaviours": behaviours}
        if (family := manifest.get("declared_family")) is not None:
            arguments = without_paths(family.get("arguments", {}))
            result["manifest"]["declared_family"] = {**family, "arguments": arguments}
    for key in ("provenance", "by"):
        if result.get(key) is not None:
            result[key] = {**result[key], "command": without_folders(result[key]["command"])}
    if (edited := result.get("edited")) is not None:
        options = {name: without_folders(value) for name, value in edited["options"].items()}
        sources = [_scrubbed(source) for source in edited["sources"]]
        result["edited"] = {**_scrubbed({**edited, "sources": []}), "options": options, "sources": sources}
    return result
