"""Making a planned push happen: data first, in commits of bounded size, then what makes it a whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import huggingface_hub
from huggingface_hub import CommitOperationAdd, CommitOperationDelete

from clwm_data.errors import ClwmError
from clwm_data.hub.client import ConflictError, api, call
from clwm_data.hub.plan import Plan, PlannedFile
from clwm_data.hub.reference import HubReference

#: Files and bytes per commit: the Hub gives a commit a minute, and an account 128 commits an hour.
BATCH_FILES = 250
BATCH_BYTES = 4 * 10**9
#: How often a push is planned anew because somebody else changed the repository meanwhile.
ATTEMPTS = 4

#: Called with (bytes newly uploaded, bytes to upload in all).
Progress = Callable[[int, int], object]


@dataclass(frozen=True)
class Pushed:
    """A finished push.

    Attributes:
        url: page of the repository.
        commit: that holds everything.
        files: uploaded.
        bytes: uploaded.
    """

    url: str
    commit: str
    files: int
    bytes: int


def check_tag(reference: HubReference, tag: str | None, make_plan: Callable[[], Plan]) -> None:
    """Refuse a tag that the repository has already, unless it stands for what is about to be pushed.

    Raises:
        ClwmError: the tag is taken.
    """
    if tag is None or not exists(reference):
        return
    refs = call(str(reference), api().list_repo_refs, reference.repository, repo_type=reference.kind)
    taken = {ref.name: ref.target_commit for ref in refs.tags}
    if tag in taken:
        plan = make_plan()
        if not plan.is_empty or taken[tag] != plan.head:
            raise ClwmError(f"{reference}: has a tag {tag} already, of something else: choose another --tag")


def exists(reference: HubReference) -> bool:
    """Whether a repository is there, for this login."""
    return call(str(reference), api().repo_exists, reference.repository, repo_type=reference.kind)


def branch_head(reference: HubReference) -> str | None:
    """Commit of the branch that a reference names, or ``None`` where it does not exist yet."""
    if not exists(reference):
        return None
    refs = call(str(reference), api().list_repo_refs, reference.repository, repo_type=reference.kind)
    heads = {ref.name: ref.target_commit for ref in refs.branches}
    return heads.get(reference.revision or "main")


def upload(
    reference: HubReference,
    make_plan: Callable[[], Plan],
    *,
    title: str,
    private: bool = False,
    tag: str | None = None,
    progress: Progress | None = None,
) -> Pushed:
    """Carry out a push; made anew where somebody else changes the repository at the same time.

    Args:
        reference: repository, and the branch as its revision.
        make_plan: compares with the repository as it is now.
        title: of the commits.
        private: make the repository private, if it is made.
        tag: to set on the result.
        progress: called after each commit.

    Raises:
        ClwmError: it cannot be done; what was uploaded is not uploaded again.
    """
    check_tag(reference, tag, make_plan)
    _create(reference, private)
    files = bytes_ = 0
    for attempt in range(ATTEMPTS):
        plan = make_plan()
        total = bytes_ + sum(file.bytes for file in plan.uploads)
        try:
            commit = plan.head
            for batch in _batches([file for file in plan.data if file.state != "same"]):
                commit = _commit(reference, batch, title, None)
                files += len(batch)
                bytes_ += sum(file.bytes for file in batch)
                if progress is not None:
                    progress(sum(file.bytes for file in batch), total)
            last = [file for file in plan.last if file.state != "same"]
            if last:
                commit = _commit(reference, last, title, commit)
                files += sum(file.state != "deleted" for file in last)
                bytes_ += sum(file.bytes for file in last)
                if progress is not None:
                    progress(sum(file.bytes for file in last), total)
            break
        except ConflictError:
            if attempt == ATTEMPTS - 1:
                raise
    if commit is None:
        raise ClwmError(f"{reference}: there is nothing to push")
    if tag is not None:
        call(
            str(reference),
            api().create_tag,
            reference.repository,
            tag=tag,
            revision=commit,
            repo_type=reference.kind,
            exist_ok=True,
        )
    return Pushed(f"{huggingface_hub.constants.ENDPOINT}/{reference.page}", commit, files, bytes_)


def _create(reference: HubReference, private: bool) -> None:
    subject, name, kind = str(reference), reference.repository, reference.kind
    if private and exists(reference) and not call(subject, api().repo_info, name, repo_type=kind).private:
        raise ClwmError(f"{reference}: is public already: leave --private out, or change it on its page")
    call(subject, api().create_repo, name, repo_type=kind, private=private or None, exist_ok=True)
    if reference.revision is not None:
        call(subject, api().create_branch, name, branch=reference.revision, repo_type=kind, exist_ok=True)


def _batches(files: Sequence[PlannedFile]) -> Iterator[list[PlannedFile]]:
    batch: list[PlannedFile] = []
    for file in files:
        size = sum(other.bytes for other in batch)
        if batch and (len(batch) == BATCH_FILES or size + file.bytes > BATCH_BYTES):
            yield batch
            batch = []
        batch.append(file)
    if batch:
        yield batch


def _commit(reference: HubReference, files: Sequence[PlannedFile], title: str, parent: str | None) -> str:
    """Commit files; with ``parent``, only if the branch still points to it."""

    def commit() -> str:
        # Made anew for every repetition: the client marks operations as done.
        operations = [
            CommitOperationDelete(file.path)
            if file.state == "deleted"
            else CommitOperationAdd(file.path, file.source)
            for file in files
        ]
        return (
            api()
            .create_commit(
                reference.repository,
                operations,
                commit_message=title,
                revision=reference.revision,
                repo_type=reference.kind,
                parent_commit=parent,
            )
            .oid
        )

    return call(str(reference), commit)
