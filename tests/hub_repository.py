"""Repositories as the Hub keeps them, in memory: commits of whole trees, branches and tags."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, field
from typing import Any

Tree = dict[str, bytes]


def git_sha(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def is_large(path: str, size: int) -> bool:
    """The Hub keeps binary files aside and text in git, roughly by the name."""
    return not path.endswith((".json", ".md", ".yaml", ".svg", ".gitattributes", ".jsonl")) or size > 10**7


@dataclass
class Repository:
    """One repository.

    Attributes:
        kind: ``dataset`` or ``model``.
        name: ``user/name``.
        private: visible to its owner only.
        gated: visible on request only.
        trees: commit -> files.
        refs: branch or tag -> commit.
        tags: names of the tags.
        messages: of all commits in order.
    """

    kind: str
    name: str
    private: bool = False
    gated: bool = False
    trees: dict[str, Tree] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)
    tags: set[str] = field(default_factory=set)
    messages: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.commit("main", {".gitattributes": b"* text\n"}, "initial commit")

    def resolve(self, revision: str) -> str | None:
        """Commit of a branch, tag or commit."""
        return self.refs.get(revision, revision if revision in self.trees else None)

    def files(self, revision: str = "main") -> Tree:
        """Files at a revision."""
        return self.trees[self.refs.get(revision, revision)]

    def commit(self, branch: str, tree: Tree, message: str) -> str:
        """Make a branch point to a new commit with this tree."""
        digest = f"{self.refs.get(branch)}{message}{sorted((k, sha256(v)) for k, v in tree.items())}"
        commit = hashlib.sha1(f"{len(self.trees)}{digest}".encode(), usedforsecurity=False).hexdigest()
        self.trees[commit] = dict(tree)
        self.refs[branch] = commit
        self.messages.append(message)
        return commit

    def change(self, files: dict[str, bytes | None], branch: str = "main") -> str:
        """Commit as somebody else: new content per path, ``None`` deletes."""
        tree = {path: text for path, text in {**self.files(branch), **files}.items() if text is not None}
        return self.commit(branch, tree, "by somebody else")

    def apply(self, branch: str, operations: list[dict[str, Any]], large: dict[str, bytes]) -> str:
        """Commit the operations of a commit request; its first is the header."""
        tree = dict(self.files(branch))
        for operation in operations[1:]:
            value = operation["value"]
            if operation["key"] == "file":
                tree[value["path"]] = base64.b64decode(value["content"])
            elif operation["key"] == "lfsFile":
                tree[value["path"]] = large[value["oid"]]
            elif operation["key"] == "deletedFile":
                del tree[value["path"]]
            else:
                raise ValueError(operation["key"])
        return self.commit(branch, tree, operations[0]["value"]["summary"])

    def listing(self, revision: str, folder: str, recursive: bool) -> list[dict[str, Any]] | None:
        """Entries of a folder, as the tree endpoint lists them; ``None`` if there is no such folder."""
        prefix = f"{folder}/" if folder else ""
        entries: dict[str, dict[str, Any]] = {}
        for path, content in sorted(self.files(revision).items()):
            if not path.startswith(prefix):
                continue
            parts = path.removeprefix(prefix).split("/")
            for depth in range(1, len(parts) if recursive else min(2, len(parts))):
                name = prefix + "/".join(parts[:depth])
                entries[name] = {"type": "directory", "path": name, "oid": git_sha(name.encode()), "size": 0}
            if recursive or len(parts) == 1:
                entries[path] = describe(path, content)
        return list(entries.values()) if entries or not folder else None


def describe(path: str, content: bytes) -> dict[str, Any]:
    """A file as the tree endpoint describes it."""
    entry: dict[str, Any] = {"type": "file", "path": path, "oid": git_sha(content), "size": len(content)}
    if is_large(path, len(content)):
        entry["lfs"] = {"oid": sha256(content), "size": len(content), "pointerSize": 134}
        entry["oid"] = git_sha(f"oid sha256:{sha256(content)}".encode())
    return entry
