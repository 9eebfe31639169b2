"""What is known about repositories from earlier calls, for when the Hub cannot or need not be asked.

The content of a commit never changes, so the Hub is asked once. The commit of a branch or a tag is asked for
every time, and remembered for when the Hub cannot be reached. If the cache cannot be written, nothing is
remembered.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import huggingface_hub

from clwm_data.bounded import read_bounded
from clwm_data.cache import cache_folder
from clwm_data.errors import ClwmError
from clwm_data.hub.reference import HubReference
from clwm_data.store.atomic import replacing, write_json
from clwm_data.store.root import parse_json

HUB = "https://huggingface.co"
#: The Hub's default branch.
MAIN = "main"
COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class Memory:
    """What is known about a repository.

    Attributes:
        folder: of the repository, in the cache.
    """

    folder: Path

    @classmethod
    def of(cls, reference: HubReference) -> Memory:
        """The memory of a reference's repository on the Hub in use."""
        hub = huggingface_hub.constants.ENDPOINT
        hubs = cache_folder("hub")
        if hub != HUB:
            hubs /= quote(urlsplit(hub).netloc or hub, safe="")
        return cls(hubs / f"{reference.kind}s" / reference.repository.replace("/", "--"))

    def commit(self, revision: str | None) -> str | None:
        """The commit that a revision pointed to the last time."""
        if revision is not None and self.is_known(revision):
            return revision
        with suppress(OSError, ValueError):
            commit = read_bounded(self._reference(revision)).decode("ascii").strip()
            return commit if COMMIT.fullmatch(commit) else None
        return None

    def is_known(self, commit: str) -> bool:
        """Whether a revision is a commit whose content is known."""
        return bool(COMMIT.fullmatch(commit)) and self._contents(commit).is_file()

    def remember_commit(self, revision: str | None, commit: str) -> None:
        """Record the commit that a revision points to now."""
        if self.commit(revision) != commit:
            self.keep(self._reference(revision), commit.encode())

    def contents(self, commit: str) -> Mapping[str, Any]:
        """What is known about the content of a commit."""
        file = self._contents(commit)
        with suppress(OSError, ClwmError):
            return parse_json(read_bounded(file), str(file))
        return {}

    def remember_contents(self, commit: str, contents: Mapping[str, Any]) -> None:
        """Record something about the content of a commit, in addition to what is known."""
        known = self.contents(commit)
        if {**known, **contents} != known:
            with suppress(OSError):
                self._contents(commit).parent.mkdir(parents=True, exist_ok=True)
                write_json(self._contents(commit), {**known, **contents})

    def keep(self, file: Path, text: bytes) -> None:
        """Keep a file in the cache, if it can be written."""
        with suppress(OSError):
            file.parent.mkdir(parents=True, exist_ok=True)
            with replacing(file) as temporary:
                temporary.write_bytes(text)

    def _reference(self, revision: str | None) -> Path:
        return self.folder / "revisions" / f"{quote(revision or MAIN, safe='')}.txt"

    def _contents(self, commit: str) -> Path:
        return self.folder / "commits" / f"{commit}.json"
