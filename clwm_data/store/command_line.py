"""Command lines as they are recorded: without the folders, logins and tokens of the machine they ran on."""

from __future__ import annotations

import re
import shlex

#: The folders of a path that starts at the root of a file system, in a home folder, or in a parent folder.
#: The name of a folder that is written with a slash at its end is kept.
_FOLDERS = re.compile(
    r"""(?<![\w.~/\\])(?:(?:file://)?(?:~[\w.-]*|\.\.)?/(?:[^/'",:;=()\\]*/)*"""
    r"""|(?:[A-Z]:/|[A-Za-z]:\\)(?:[^\\/'",:;=()]*[\\/])*)(?=[^\s/\\'",:;=()])"""
)
_ADDRESS = re.compile(r"\b(?!file:)([a-z][a-z0-9+.-]*://)(?:[^/@\s]*@)?([^?\s]*)(\?\S*)?", re.IGNORECASE)
_TOKEN = re.compile(r"hf_\w{8,}")


def without_folders(text: str) -> str:
    """A command line in which only the last part is left of each path that leads out of the current folder.

    Logins and queries of web addresses are removed, too, and tokens of the Hub are masked.
    """
    try:
        words = shlex.split(text)
    except ValueError:  # an open quotation mark
        return without_folder(text)
    return text if (scrubbed := [without_folder(word) for word in words]) == words else shlex.join(scrubbed)


def without_folder(word: str) -> str:
    """One argument of a command line, as :func:`without_folders`."""
    word = _TOKEN.sub("hf_...", word)
    if _ADDRESS.search(word):
        return _ADDRESS.sub(r"\1\2", word)
    return _FOLDERS.sub("", word)
