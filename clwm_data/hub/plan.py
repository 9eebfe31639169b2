"""What a push has to upload and to delete: the difference between files here and in the repository."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from huggingface_hub.hf_api import RepoFile

from clwm_data.bounded import read_bounded
from clwm_data.hub.client import api, call, read_file
from clwm_data.hub.reference import HubReference
from clwm_data.pages.markdown import CARD
from clwm_data.store.digest import file_sha256

#: Largest card that is read: a person may have written it.
MAX_CARD_BYTES = 10**6

State = Literal["new", "changed", "same", "deleted"]


@dataclass(frozen=True)
class PlannedFile:
    """A file of a push.

    Attributes:
        path: in the repository.
        source: file on disk, or the content.
        bytes: size.
        state: what the push does with the file.
        sha256: of its content, in hexadecimal, where that is known.
    """

    path: str
    source: Path | bytes
    bytes: int
    state: State
    sha256: str | None = None


@dataclass(frozen=True)
class Plan:
    """Everything that a push will do.

    Attributes:
        head: commit that it builds upon, or ``None`` where the branch or the repository does not exist yet.
        data: files that are committed first, in any order.
        last: files that complete the data, in one commit with the deletions.
        losses: what is published now and would be lost, one line each.
    """

    head: str | None
    data: Sequence[PlannedFile]
    last: Sequence[PlannedFile]
    losses: Sequence[str] = ()

    @property
    def files(self) -> list[PlannedFile]:
        """All files."""
        return [*self.data, *self.last]

    @property
    def uploads(self) -> list[PlannedFile]:
        """Files to upload."""
        return [file for file in self.files if file.state in ("new", "changed")]

    @property
    def deletions(self) -> int:
        """How many published files are deleted."""
        return sum(file.state == "deleted" for file in self.files)

    @staticmethod
    def changing(files: Sequence[PlannedFile]) -> list[PlannedFile]:
        """The files that a push uploads or deletes."""
        return [file for file in files if file.state != "same"]

    @property
    def is_empty(self) -> bool:
        """Whether the repository holds everything already."""
        return all(file.state == "same" for file in self.files)


def remote_files(reference: HubReference, commit: str) -> dict[str, RepoFile]:
    """All files of a repository at a commit, by path."""
    listing = call(
        str(reference),
        lambda: list(
            api().list_repo_tree(
                reference.repository, recursive=True, revision=commit, repo_type=reference.kind
            )
        ),
    )
    return {entry.path: entry for entry in listing if isinstance(entry, RepoFile)}


def planned(
    path: str, source: Path | bytes, remote: Mapping[str, RepoFile], sha256: str | None = None
) -> PlannedFile:
    """The plan for a file that the repository shall hold.

    Args:
        path: in the repository.
        source: file on disk, or the content.
        remote: what the repository holds, by path.
        sha256: of the content, if it was computed before: a large file is then not read for it again.
    """
    size = len(source) if isinstance(source, bytes) else source.stat().st_size
    published = remote.get(path)
    state: State = "new"
    if published is not None:
        state = "same" if _is_same(source, size, published, sha256) else "changed"
    return PlannedFile(path, source, size, state, sha256)


def deleted(path: str) -> PlannedFile:
    """The plan for a file that is deleted from the repository."""
    return PlannedFile(path, b"", 0, "deleted")


def _is_same(source: Path | bytes, size: int, published: RepoFile, sha256: str | None) -> bool:
    """Compare with a large file's SHA-256, or with the git hash of a small one."""
    if published.size != size:
        return False
    if published.lfs is not None:
        return (sha256 or _sha256(source)) == published.lfs.sha256
    content = source if isinstance(source, bytes) else read_bounded(source)
    git_hash = hashlib.sha1(b"blob %d\0" % size + content, usedforsecurity=False)
    return git_hash.hexdigest() == published.blob_id


def _sha256(source: Path | bytes) -> str:
    return hashlib.sha256(source).hexdigest() if isinstance(source, bytes) else file_sha256(source)


def existing_card(reference: HubReference, commit: str) -> str:
    """The card that a repository has at a commit.

    Raises:
        DamagedDataError: it is too long to have been written by a person.
    """
    return read_file(reference, commit, CARD, MAX_CARD_BYTES).decode(errors="replace")
