"""Carrying out a planned push: in one commit if it fits, else the data first, then what completes it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import huggingface_hub
from huggingface_hub import CommitOperationAdd, CommitOperationDelete

from clwm_data.errors import ConflictError, UnavailableError
from clwm_data.hub.client import ChangedMeanwhileError, api, call
from clwm_data.hub.plan import Plan, PlannedFile
from clwm_data.hub.reference import HubReference
from clwm_data.store.cached import ArrivalCallback

#: Files and bytes per commit: the Hub allows a minute per commit, and 128 commits per hour and account.
BATCH_FILES = 250
BATCH_BYTES = 4 * 10**9
#: How often a push is planned again because somebody else changed the repository meanwhile.
ATTEMPTS = 4


@dataclass(frozen=True)
class Pushed:
    """A finished push.

    Attributes:
        url: page of the repository.
        commit: the commit that holds everything.
        files: number of files uploaded.
        bytes: number of bytes uploaded.
        deleted: number of files that were deleted.
    """

    url: str
    commit: str
    files: int
    bytes: int
    deleted: int


@dataclass(frozen=True)
class Publication:
    """Something to publish.

    Attributes:
        reference: repository, with the branch as its revision.
        title: of the commits.
        plan_upon: plans against the repository at a commit, or, given ``None``, against an empty one.
        on_success: called when everything is published.
        batch_files: largest number of files in one commit.
    """

    reference: HubReference
    title: str
    plan_upon: Callable[[str | None], Plan]
    on_success: Callable[[], object] = lambda: None
    batch_files: int = BATCH_FILES

    def plan(self) -> Plan:
        """The plan against the repository as it is now.

        Raises:
            ClwmError: the repository cannot be read.
        """
        return self.plan_upon(branch_head(self.reference))

    def push(
        self,
        *,
        private: bool = False,
        tag: str | None = None,
        replace: bool = False,
        on_progress: ArrivalCallback | None = None,
    ) -> Pushed:
        """Carry out the plan; plan again if somebody else changes the repository meanwhile.

        Args:
            private: make the repository private, if it does not exist yet.
            tag: to set on the result.
            replace: push even if something published would be lost.
            on_progress: called after each commit with the bytes in it, and the bytes in all.

        Raises:
            ConflictError: something published would be lost, the tag points to something else, or others
                keep changing the repository.
            UnavailableError: the Hub cannot be reached, or refuses; what was uploaded by then is not uploaded
                again by the next call.
        """
        self._check(private, tag, replace)
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
        upload = _Upload(self, on_progress)
        for attempt in range(ATTEMPTS):
            plan = self.plan()
            refuse_losses(self.reference, plan, replace)
            try:
                commit = upload.run(plan)
                break
            except ChangedMeanwhileError:
                if attempt == ATTEMPTS - 1:
                    raise
        self.on_success()
        if tag is not None:
            self._call(api().create_tag, tag=tag, revision=commit, exist_ok=True)
        url = f"{huggingface_hub.constants.ENDPOINT}/{self.reference.page}"
        return Pushed(url, commit, upload.files, upload.bytes, upload.deleted)

    def _check(self, private: bool, tag: str | None, replace: bool) -> None:
        """Refuse before anything is uploaded what would otherwise fail, or be regretted, at the end."""
        if not exists(self.reference):
            return
        if private and not self._call(api().repo_info).private:
            raise ConflictError(
                f"{self.reference}: is public already: leave --private out, or change it on its page"
            )
        plan = self.plan()
        refuse_losses(self.reference, plan, replace)
        tags = {ref.name: ref.target_commit for ref in self._call(api().list_repo_refs).tags}
        if tag in tags and (not plan.is_empty or plan.head != tags[tag]):
            raise ConflictError(f"{self.reference}: tag {tag} points to something else: choose another --tag")

    def _call(self, function: Callable[..., Any], **arguments: Any) -> Any:
        kind, repository = self.reference.kind, self.reference.repository
        return call(str(self.reference), function, repository, repo_type=kind, **arguments)


def refuse_losses(reference: HubReference, plan: Plan, replace: bool) -> None:
    """Refuse a push that would lose something published, unless that is intended.

    Raises:
        ConflictError: something would be lost, and ``replace`` is false.
    """
    if plan.losses and not replace:
        raise ConflictError(
            f"{reference}: {'; '.join(plan.losses)}: nothing was pushed; --replace pushes all the same"
        )


def exists(reference: HubReference) -> bool:
    """Whether a repository exists and is visible to this login."""
    return call(str(reference), api().repo_exists, reference.repository, repo_type=reference.kind)


def branch_head(reference: HubReference) -> str | None:
    """Commit of the branch that a reference names, or ``None`` where it does not exist yet."""
    if not exists(reference):
        return None
    refs = call(str(reference), api().list_repo_refs, reference.repository, repo_type=reference.kind)
    heads = {ref.name: ref.target_commit for ref in refs.branches}
    return heads.get(reference.revision or "main")


class _Upload:
    """The commits of one push, and how much they hold."""

    def __init__(self, publication: Publication, on_progress: ArrivalCallback | None) -> None:
        self._reference = publication.reference
        self._title = publication.title
        self._batch_files = publication.batch_files
        self._on_progress = on_progress
        self.files = 0
        self.bytes = 0
        self.deleted = 0

    def run(self, plan: Plan) -> str:
        """Carry out a plan.

        Returns:
            The commit that holds everything.
        """
        if plan.head is None:
            raise UnavailableError(
                f"{self._reference}: has no such branch, although it was just created: run the command again"
            )
        commit = plan.head
        total = self.bytes + sum(file.bytes for file in plan.uploads)
        data, last = plan.changing(plan.data), plan.changing(plan.last)
        batches = list(_batches([*data, *last], self._batch_files))
        if len(batches) > 1:  # with one commit, readers of the branch never see data without its root
            for batch in _batches(data, self._batch_files):
                commit = self._commit(batch, None, total)
            batches = [last]
        # The card and the deletions were decided for what the branch pointed to.
        return self._commit(batches[0], commit, total) if batches and batches[0] else commit

    def _commit(self, files: Sequence[PlannedFile], parent: str | None, total: int) -> str:
        def commit() -> str:
            # Created for every attempt: the client marks operations as done.
            operations = [
                CommitOperationDelete(file.path) if file.state == "deleted" else _addition(file)
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
        deleted = sum(file.state == "deleted" for file in files)
        self.files += len(files) - deleted
        self.deleted += deleted
        self.bytes += size
        if self._on_progress is not None:
            self._on_progress(size, total)
        return oid


def _addition(file: PlannedFile) -> CommitOperationAdd:
    operation = CommitOperationAdd(file.path, file.source)
    if file.sha256 is not None:  # else the client reads the file once more to compute it
        operation.upload_info.sha256 = bytes.fromhex(file.sha256)
    return operation


def _batches(files: Sequence[PlannedFile], most: int) -> Iterator[list[PlannedFile]]:
    batch: list[PlannedFile] = []
    size = 0
    for file in files:
        if batch and (len(batch) == most or size + file.bytes > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(file)
        size += file.bytes
    if batch:
        yield batch
