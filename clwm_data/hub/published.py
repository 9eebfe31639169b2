"""What a dataset repository holds at a commit: its stores, and the metadata of one."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import huggingface_hub
from huggingface_hub.hf_api import RepoFile, RepoFolder

from clwm_data.bounded import read_bounded
from clwm_data.errors import ClwmError, DamagedDataError, InvalidInputError, NotFoundError
from clwm_data.hub.client import NoRepositoryError, UnreachableError, api, call, read_file
from clwm_data.hub.memory import Memory
from clwm_data.hub.reference import HubReference, Kind
from clwm_data.paths import SUFFIX
from clwm_data.store.format import METADATA, TASKS, Origin, TaskRecord, task_folder
from clwm_data.store.root import MAX_METADATA_BYTES, Root, parse_root
from clwm_data.suggestions import suggestion

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PublishedStore:
    """A store in a dataset repository, at one commit.

    Attributes:
        reference: the reference that was asked for.
        commit: the commit that its revision pointed to.
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
        """The origin that a downloaded store records."""
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
        return {index: self.root.task(index, str(self)) for index in self.indices}

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
        NotFoundError: no such repository, revision or store.
        DamagedDataError: a store whose metadata contradicts itself.
        UnavailableError: the Hub cannot be asked, and the cache has no answer.
    """
    commit, folders = _find(reference)
    return [open_published(reference, commit, folder) for folder in folders]


def _find(reference: HubReference) -> tuple[str, list[str]]:
    """The commit of a reference, and the folders of the stores that it names."""
    commit = resolve_commit(reference)
    folders = store_folders(reference, commit)
    if reference.store is not None:
        if reference.store not in folders:
            meant = suggestion(reference.store, folders)
            raise NotFoundError(
                f"{reference}: no such store; the repository holds: {', '.join(folders) or 'none'}"
                f"{f': {meant}' if meant else ''}"
            )
        folders = [reference.store]
    if not folders:
        raise NotFoundError(f"{reference}: holds no clwm store (a folder NAME{SUFFIX} with a {METADATA})")
    return commit, folders


def find_one(reference: HubReference) -> PublishedStore:
    """The only store that a reference names.

    Raises:
        InvalidInputError: there are several.
        ClwmError: as :func:`find_published`.
    """
    commit, folders = _find(reference)
    if len(folders) > 1:
        names = ", ".join(f"{reference}/{folder}" for folder in folders)
        raise InvalidInputError(f"{reference}: holds several stores, name one of them: {names}")
    return open_published(reference, commit, folders[0])


def resolve_commit(reference: HubReference) -> str:
    """The commit that a reference's revision points to now, or the last known one if the Hub cannot be asked.

    Raises:
        NotFoundError: no such repository or revision, or a repository of another kind.
        UnavailableError: the Hub cannot be asked, and the cache has no answer.
    """
    memory = Memory.of(reference)
    if reference.revision is not None and memory.is_known(reference.revision):
        return reference.revision
    try:
        info = call(
            str(reference),
            api().repo_info,
            reference.repository,
            revision=reference.revision,
            repo_type=reference.kind,
        )
    except NoRepositoryError as error:
        raise _of_other_kind(reference, error) from error
    except UnreachableError as error:
        commit = memory.commit(reference.revision)
        if commit is None:
            raise type(error)(f"{error}; it was not downloaded before") from error
        if not huggingface_hub.constants.is_offline_mode():  # otherwise the user knows
            logger.warning("%s: the Hub cannot be asked: what was downloaded before is used", reference)
        return commit
    if not info.sha:
        raise NotFoundError(f"{reference}: the Hub names no commit")
    memory.remember_commit(reference.revision, info.sha)
    return info.sha


def _of_other_kind(reference: HubReference, error: NoRepositoryError) -> NoRepositoryError:
    """The error for a repository that does not exist, or that is of another kind."""
    other: Kind = "model" if reference.kind == "dataset" else "dataset"
    if not call(str(reference), api().repo_exists, reference.repository, repo_type=other):
        return error
    uses = {
        "model": "a trained agent, perhaps: `clwm pull` downloads it, `clwm eval` evaluates it",
        "dataset": "`clwm pull` downloads it, `clwm train` trains on it",
    }
    explained = NoRepositoryError(
        f"{reference}: no such {reference.kind} repository, but hf://{other}s/{reference.repository} is one "
        f"of the kind {other} ({uses[other]})"
    )
    explained.other_kind = other
    return explained


def store_folders(reference: HubReference, commit: str) -> list[str]:
    """Folders of a repository whose names are those of stores."""
    memory = Memory.of(reference)
    known = memory.contents(commit).get("stores")
    if isinstance(known, list) and all(isinstance(folder, str) for folder in known):
        return known
    listing = call(
        str(reference),
        lambda: list(api().list_repo_tree(reference.repository, revision=commit, repo_type=reference.kind)),
    )
    folders = sorted(e.path for e in listing if isinstance(e, RepoFolder) and e.path.endswith(SUFFIX))
    memory.remember_contents(commit, {"stores": folders})
    return folders


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
        NotFoundError: there is none.
        DamagedDataError: it is too large, damaged, or contradicts itself.
        UnavailableError: it cannot be downloaded.
    """
    memory, where = Memory.of(reference), f"{reference.repository}/{folder}"
    key = f"root of {folder}"
    digest = memory.contents(commit).get(key)
    if isinstance(digest, str):
        try:
            root = _checked_root(read_bounded(root_file(memory, digest)), where)
            if root.record.root_sha256 == digest:
                return PublishedStore(reference, commit, folder, root)
        except (OSError, ClwmError):
            pass  # a damaged file in the cache is downloaded again
    root = _download_root(reference, commit, folder)
    digest = root.record.root_sha256
    memory.keep(root_file(memory, digest), root.text)
    memory.remember_contents(commit, {key: digest})
    return PublishedStore(reference, commit, folder, root)


def root_file(memory: Memory, digest: str) -> Path:
    """Where a published root is kept, beside the downloaded tasks of its store."""
    return store_cache(memory, digest) / "root.json"


def store_cache(memory: Memory, digest: str) -> Path:
    """The folder of a published store in the cache, by the digest of its root."""
    return memory.folder / digest[:32]


def _download_root(reference: HubReference, commit: str, folder: str) -> Root:
    where = f"{reference.repository}/{folder}"
    path = f"{folder}/{METADATA}"
    entries = call(
        where,
        api().get_paths_info,
        reference.repository,
        path,
        revision=commit,
        repo_type=reference.kind,
    )
    if not entries or not isinstance(entries[0], RepoFile):
        raise NotFoundError(f"{where}: has no {METADATA}: its upload is not complete")
    if entries[0].size > MAX_METADATA_BYTES:
        raise DamagedDataError(
            f"{where}/{METADATA}: has {entries[0].size} bytes: it is not the root of a store"
        )
    text = read_file(reference, commit, path, MAX_METADATA_BYTES)
    try:
        return _checked_root(text, where)
    except DamagedDataError:  # perhaps damaged on the way
        return _checked_root(read_file(reference, commit, path, MAX_METADATA_BYTES), where)


def _checked_root(text: bytes, where: str) -> Root:
    root = parse_root(text, where)
    root.verify(where)
    return root
