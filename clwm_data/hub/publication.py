"""Making a planned push happen: data first, in commits of bounded size, then what makes it a whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

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


@dataclass(frozen=True)
class Publication:
    """Something to publish.

    Attributes:
        reference: repository, and the branch as its revision.
        title: of the commits.
        plan_upon: compares with the repository at a commit; ``None``: with one that is still empty.
    """

    reference: HubReference
    title: str
    plan_upon: Callable[[str | None], Plan]

    def plan(self) -> Plan:
        """What there is to do, compared with the repository as it is now.

        Raises:
            ClwmError: the repository cannot be read.
        """
        return self.plan_upon(branch_head(self.reference))

    def push(
        self, *, private: bool = False, tag: str | None = None, progress: Progress | None = None
    ) -> Pushed:
        """Upload what the plan says; planned anew where somebody else changes the repository meanwhile.

        Args:
            private: make the repository private, if it does not exist yet.
            tag: to set on the result.
            progress: called after each commit.

        Raises:
            ClwmError: it cannot be done; what was uploaded by then is not uploaded again by the next call.
        """
        self._check(private, tag)
        call(
            str(self.reference),
            api().create_repo,
            self.reference.repository,
            repo_type=self.reference.kind,
            private=private or None,
            exist_ok=True,
        )
        if self.reference.revision is not None:
            self._call(api().create_branch, branch=self.reference.revision, exist_ok=True)
        upload = _Upload(self.reference, self.title, progress)
        for attempt in range(ATTEMPTS):
            try:
                commit = upload.run(self.plan())
                break
            except ConflictError:
                if attempt == ATTEMPTS - 1:
                    raise
        if tag is not None:
            self._call(api().create_tag, tag=tag, revision=commit, exist_ok=True)
        url = f"{huggingface_hub.constants.ENDPOINT}/{self.reference.page}"
        return Pushed(url, commit, upload.files, upload.bytes)

    def _check(self, private: bool, tag: str | None) -> None:
        """Refuse before anything is uploaded what would be refused, or regretted, at the end."""
        if not exists(self.reference):
            return
        if private and not self._call(api().repo_info).private:
            raise ClwmError(
                f"{self.reference}: is public already: leave --private out, or change it on its page"
            )
        taken = {ref.name: ref.target_commit for ref in self._call(api().list_repo_refs).tags}
        if tag in taken:
            plan = self.plan()
            if not plan.is_empty or plan.head != taken[tag]:
                raise ClwmError(
                    f"{self.reference}: tag {tag} stands for something else: choose another --tag"
                )

    def _call(self, function: Callable[..., Any], **arguments: Any) -> Any:
        kind, repository = self.reference.kind, self.reference.repository
        return call(str(self.reference), function, repository, repo_type=kind, **arguments)


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


class _Upload:
    """Commits of one push, and what they carried."""

    def __init__(self, reference: HubReference, title: str, progress: Progress | None) -> None:
        self._reference = reference
        self._title = title
        self._progress = progress
        self.files = 0
        self.bytes = 0

    def run(self, plan: Plan) -> str:
        """Carry out a plan.

        Returns:
            The commit that holds everything.
        """
        if plan.head is None:
            raise ClwmError(f"{self._reference}: has no such branch after it was made: run the command again")
        commit = plan.head
        total = self.bytes + sum(file.bytes for file in plan.uploads)
        for batch in _batches([file for file in plan.data if file.state != "same"]):
            commit = self._commit(batch, None, total)
        last = [file for file in plan.last if file.state != "same"]
        # The card and the deletions were decided for what the branch pointed to.
        return self._commit(last, commit, total) if last else commit

    def _commit(self, files: Sequence[PlannedFile], parent: str | None, total: int) -> str:
        def commit() -> str:
            # Made anew for every repetition: the client marks operations as done.
            operations = [
                CommitOperationDelete(file.path)
                if file.state == "deleted"
                else CommitOperationAdd(file.path, file.source)
                for file in files
            ]
            info = api().create_commit(
                self._reference.repository,
                operations,
                commit_message=self._title,
                revision=self._reference.revision,
                repo_type=self._reference.kind,
                parent_commit=parent,
            )
            return info.oid

        oid = call(str(self._reference), commit)
        size = sum(file.bytes for file in files)
        self.files += sum(file.state != "deleted" for file in files)
        self.bytes += size
        if self._progress is not None:
            self._progress(size, total)
        return oid


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
