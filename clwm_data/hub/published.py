"""What a dataset repository holds at a commit: its stores, and the metadata of one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import huggingface_hub
from huggingface_hub.hf_api import RepoFile, RepoFolder

from clwm_data.errors import ClwmError
from clwm_data.hub.client import api, call
from clwm_data.hub.reference import HubReference
from clwm_data.store.format import METADATA, TASKS, Origin, TaskRecord, task_folder
from clwm_data.store.root import MAX_METADATA_BYTES, Root, parse_root

SUFFIX = ".zarr"


@dataclass(frozen=True)
class PublishedStore:
    """A store in a dataset repository, at one commit.

    Attributes:
        reference: what was asked for.
        commit: that its revision stood for.
        folder: of the store in the repository, ``<name>.zarr``.
        root: checked metadata.
    """

    reference: HubReference
    commit: str
    folder: str
    root: Root

    def __str__(self) -> str:
        return f"{self.reference.repository}/{self.folder}"

    @property
    def origin(self) -> Origin:
        """What a download remembers of where it came from."""
        return Origin(
            repository=self.reference.repository,
            revision=self.commit,
            store=self.folder,
            root_sha256=self.root.record.root_sha256,
        )

    @property
    def indices(self) -> tuple[int, ...]:
        """Its tasks, ascending."""
        return tuple(sorted(int(key) for key in self.root.record.tasks))

    @cached_property
    def records(self) -> Mapping[int, TaskRecord]:
        """Checked metadata of its tasks."""
        return {index: self.root.task(index, str(self))[0] for index in self.indices}

    @cached_property
    def sizes(self) -> Mapping[str, int]:
        """Size of every file in the repository below the store, by path below the store."""
        return repository_files(self.reference, self.commit, self.folder)

    def task_path(self, index: int) -> str:
        """Path of a task's group below the store."""
        return f"{TASKS}/{task_folder(index)}"


def find_published(reference: HubReference) -> list[PublishedStore]:
    """The stores that a reference names: one, or all of its repository.

    Raises:
        ClwmError: no such repository, revision or store, or a store that cannot be read.
    """
    commit = resolve_commit(reference)
    folders = store_folders(reference, commit)
    if reference.store is not None:
        if reference.store not in folders:
            raise ClwmError(
                f"{reference}: no such store; the repository holds: {', '.join(folders) or 'none'}"
            )
        folders = [reference.store]
    if not folders:
        raise ClwmError(f"{reference}: holds no clwm store (a folder NAME{SUFFIX} with a {METADATA})")
    return [open_published(reference, commit, folder) for folder in folders]


def find_one(reference: HubReference) -> PublishedStore:
    """The only store that a reference names.

    Raises:
        ClwmError: there are several, or as :func:`find_published`.
    """
    found = find_published(reference)
    if len(found) > 1:
        names = ", ".join(f"{reference}/{store.folder}" for store in found)
        raise ClwmError(f"{reference}: holds several stores, name one of them: {names}")
    return found[0]


def resolve_commit(reference: HubReference) -> str:
    """The commit that a reference's revision stands for now.

    Raises:
        ClwmError: no such repository or revision.
    """
    info = call(
        str(reference),
        api().repo_info,
        reference.repository,
        revision=reference.revision,
        repo_type=reference.kind,
    )
    if not info.sha:
        raise ClwmError(f"{reference}: the Hub names no commit")
    return info.sha


def store_folders(reference: HubReference, commit: str) -> list[str]:
    """Folders of a repository that are called like stores."""
    listing = call(
        str(reference),
        lambda: list(api().list_repo_tree(reference.repository, revision=commit, repo_type=reference.kind)),
    )
    return sorted(e.path for e in listing if isinstance(e, RepoFolder) and e.path.endswith(SUFFIX))


def repository_files(reference: HubReference, commit: str, folder: str) -> dict[str, int]:
    """Size of every file below a folder of a repository, by its path below that folder."""
    listing = call(
        str(reference),
        lambda: list(
            api().list_repo_tree(
                reference.repository, folder, recursive=True, revision=commit, repo_type=reference.kind
            )
        ),
    )
    return {e.path.removeprefix(f"{folder}/"): e.size for e in listing if isinstance(e, RepoFile)}


def open_published(reference: HubReference, commit: str, folder: str) -> PublishedStore:
    """Read and check the root of a store in a repository.

    Raises:
        ClwmError: there is none, it is too large, damaged, or contradicts itself.
    """
    where = f"{reference.repository}/{folder}"
    entries = call(
        where,
        api().get_paths_info,
        reference.repository,
        f"{folder}/{METADATA}",
        revision=commit,
        repo_type=reference.kind,
    )
    if not entries or not isinstance(entries[0], RepoFile):
        raise ClwmError(f"{where}: has no {METADATA}: its upload is not complete")
    if entries[0].size > MAX_METADATA_BYTES:
        raise ClwmError(f"{where}/{METADATA}: has {entries[0].size} bytes: it is not the root of a store")
    file = call(
        where,
        huggingface_hub.hf_hub_download,
        reference.repository,
        f"{folder}/{METADATA}",
        revision=commit,
        repo_type=reference.kind,
        library_name="clwm",
    )
    root = parse_root(Path(file).read_bytes(), where)
    published = PublishedStore(reference, commit, folder, root)
    root.verify(where)
    return published
