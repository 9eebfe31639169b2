"""Names of what lies on the Hub."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from clwm_data.errors import ClwmError

Kind = Literal["dataset", "model"]

PREFIX = "hf://"
_PART = r"[A-Za-z0-9][A-Za-z0-9._-]*"
_REPOSITORY = re.compile(rf"{_PART}/{_PART}")
_STORE = re.compile(rf"{_PART}\.zarr")


@dataclass(frozen=True)
class HubReference:
    """Something in a repository of the Hub.

    Attributes:
        repository: ``user/name``.
        revision: branch, tag or commit, or ``None`` for the default branch.
        store: folder of one store in a dataset repository, or ``None`` for whatever it holds.
        kind: of the repository.
    """

    repository: str
    revision: str | None = None
    store: str | None = None
    kind: Kind = "dataset"

    def __str__(self) -> str:
        revision = "" if self.revision is None else f"@{self.revision}"
        store = "" if self.store is None else f"/{self.store}"
        return f"{PREFIX}{self.kind}s/{self.repository}{revision}{store}"

    @property
    def page(self) -> str:
        """Path of the repository's page on the Hub."""
        return f"datasets/{self.repository}" if self.kind == "dataset" else self.repository


def looks_like_reference(text: str) -> bool:
    """Whether a text names a repository, or could: ``hf://...``, ``user/repo``, ``user/repo@tag``."""
    repository, _, revision = text.partition("@")
    return text.startswith(PREFIX) or bool(
        _REPOSITORY.fullmatch(repository)
        and not repository.endswith((".zarr", ".yaml", ".yml"))
        and ("@" not in text or revision)
    )


def parse_reference(text: str, kind: Kind = "dataset") -> HubReference:
    """Parse ``user/repo[@revision][/x.zarr]``, with or without ``hf://`` or ``hf://datasets/`` before it.

    A slash in a revision is written ``%2F``.

    Raises:
        ClwmError: it is not such a name.
    """
    rest = text.removeprefix(PREFIX).removesuffix("/")
    parts = rest.split("/")
    if parts[0] in ("datasets", "models") and text.startswith(PREFIX):
        if parts[0] != f"{kind}s":
            raise ClwmError(f"{text}: is a {parts[0][:-1]} repository, expected a {kind} repository")
        parts = parts[1:]
    if len(parts) < 2:
        raise ClwmError(f"{text}: is not a name on the Hub: expected user/repo or {PREFIX}{kind}s/user/repo")
    name, _, revision = parts[1].partition("@")
    repository, inside = f"{parts[0]}/{name}", "/".join(parts[2:])
    if not _REPOSITORY.fullmatch(repository) or parts[1].endswith("@"):
        raise ClwmError(f"{text}: {repository}{'@' * parts[1].endswith('@')} is not a name like user/repo")
    if inside and (kind != "dataset" or not _STORE.fullmatch(inside)):
        raise ClwmError(f"{text}: {inside} is not the name of a store such as {repository}/point-robot.zarr")
    return HubReference(repository, revision.replace("%2F", "/") or None, inside or None, kind)


def repository_reference(text: str, branch: str | None, kind: Kind) -> HubReference:
    """A repository to write to.

    Raises:
        ClwmError: the text names no repository, or more than one.
    """
    reference = parse_reference(text, kind)
    if reference.revision is not None or reference.store is not None:
        raise ClwmError(f"{text}: expected the name of a repository, {reference.repository}, and no more")
    return HubReference(reference.repository, branch, None, kind)
