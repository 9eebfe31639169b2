"""Names of what lies on the Hub, in the spelling of ``huggingface_hub``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, cast, get_args

from clwm_data.errors import InvalidInputError

Kind = Literal["dataset", "model"]

PREFIX = "hf://"
#: Addresses of the Hub's pages, which are accepted as references, too.
SITES = ("https://huggingface.co/", "https://hf.co/")
_PART = r"[A-Za-z0-9][A-Za-z0-9._-]*"
_REPOSITORY = re.compile(rf"{_PART}/{_PART}")
_STORE = re.compile(rf"{_PART}\.zarr")
_REVISION = re.compile(r"(?!.*\.\.)[\w][\w./+-]*", re.ASCII)


@dataclass(frozen=True)
class HubReference:
    """Something in a repository of the Hub.

    Attributes:
        repository: ``user/name``.
        revision: branch, tag or commit, or ``None`` for the default branch.
        store: folder of one store in a dataset repository, or ``None`` for all that it holds.
        kind: of the repository.
    """

    repository: str
    revision: str | None = None
    store: str | None = None
    kind: Kind = "dataset"

    def __str__(self) -> str:
        revision = "" if self.revision is None else f"@{self.revision.replace('/', '%2F')}"
        store = "" if self.store is None else f"/{self.store}"
        return f"{PREFIX}{self.kind}s/{self.repository}{revision}{store}"

    @property
    def page(self) -> str:
        """Path of the repository's page on the Hub."""
        return f"datasets/{self.repository}" if self.kind == "dataset" else self.repository


def is_address(text: str) -> bool:
    """Whether a text can mean nothing but the Hub: ``hf://...``, or the address of one of its pages."""
    return text.lower().startswith((PREFIX, *SITES))


def looks_like_reference(text: str) -> bool:
    """Whether a text names a repository, or could: ``hf://...``, ``user/repo``, ``user/repo@tag``."""
    repository, at, revision = text.partition("@")
    return is_address(text) or bool(
        _REPOSITORY.fullmatch(repository)
        and not repository.endswith((".zarr", ".yaml", ".yml"))
        and (revision or not at)
    )


def parse_reference(text: str, kind: Kind | None = "dataset") -> HubReference:
    """Parse ``user/repo[@revision][/x.zarr]``, or the same after ``hf://datasets/`` or ``hf://models/``.

    As everywhere on the Hub, ``hf://user/repo`` is a model. A slash in a revision is written ``%2F``.

    Args:
        text: the name, or the address of a page of the Hub.
        kind: the expected kind of repository, which a bare ``user/repo`` then is; ``None``: what the text
            says, or a dataset if it does not say.

    Raises:
        InvalidInputError: not a valid reference, or a repository of another kind.
    """
    from huggingface_hub import parse_hf_uri  # takes half a second to import
    from huggingface_hub.errors import HfUriError

    try:
        uri = parse_hf_uri(text if is_address(text) else f"{PREFIX}{kind or 'dataset'}s/{text.rstrip('/')}")
    except HfUriError as error:
        raise InvalidInputError(
            f"{text}: is not a name on the Hub: expected user/repo or {PREFIX}{kind or 'dataset'}s/user/repo"
        ) from error
    allowed = get_args(Kind) if kind is None else (kind,)
    if uri.type not in allowed:
        expected = " or ".join(f"{PREFIX}{other}s/{uri.id}" for other in allowed)
        raise InvalidInputError(
            f"{text}: names a {uri.type} repository, not a {' or '.join(allowed)}: {expected}?"
        )
    if not _REPOSITORY.fullmatch(uri.id):
        raise InvalidInputError(f"{text}: {uri.id} is not a name like user/repo")
    if uri.revision is not None and not _REVISION.fullmatch(uri.revision):
        raise InvalidInputError(f"{text}: {uri.revision!r} is not the name of a branch, a tag or a commit")
    store = uri.path_in_repo.rstrip("/") or None
    if store is not None and (uri.type != "dataset" or not _STORE.fullmatch(store)):
        raise InvalidInputError(
            f"{text}: {store} is not the name of a store such as {uri.id}/point-robot.zarr"
        )
    return HubReference(uri.id, uri.revision, store, cast(Kind, uri.type))


def repository_reference(text: str, branch: str | None, kind: Kind) -> HubReference:
    """A repository to write to.

    Raises:
        InvalidInputError: the text names no repository, or more than one, or the branch is not a name.
    """
    reference = parse_reference(text, kind)
    if reference.revision is not None or reference.store is not None:
        raise InvalidInputError(
            f"{text}: expected the name of a repository, {reference.repository}, and no more"
        )
    if branch is not None and not _REVISION.fullmatch(branch):
        raise InvalidInputError(f"{branch!r} is not the name of a branch")
    return HubReference(reference.repository, branch, None, kind)
