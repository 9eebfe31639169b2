"""Files in a store's folder that are not a part of it."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from fnmatch import translate
from functools import lru_cache
from pathlib import Path

from clwm_data.errors import ConflictError
from clwm_data.store.atomic import remove
from clwm_data.store.format import METADATA, STAGING, TASKS

#: Names of files that operating systems create for themselves: never kept, moved or published.
LITTER = (
    ".DS_Store",
    "._*",
    ".nfs*",
    ".fuse_hidden*",
    ".directory",
    ".fseventsd",
    ".Spotlight-V100",
    ".Trashes",
    ".Trash-*",
    "Thumbs.db",
    "desktop.ini",
    "lost+found",
)
LITTER_NAME = re.compile("|".join(map(translate, LITTER)))

#: Files below ``tasks``.
OWN_FILE = re.compile(r"([0-9]{4,9}/)?zarr\.json|[0-9]{4,9}/[a-z_]+/(zarr\.json|c(\.[0-9]{1,9}){1,2})")


def is_litter(path: Path) -> bool:
    """Whether a file or a folder was created by an operating system for itself."""
    return _is_litter(path.name)


@lru_cache(maxsize=1024)  # the files of all tasks have the same few names
def _is_litter(name: str) -> bool:
    return LITTER_NAME.fullmatch(name) is not None


def foreign_entries(store: Path) -> list[Path]:
    """Files and folders directly in a store that a user put there, such as a ``NOTES.md`` or ``.git``."""
    if not store.is_dir():
        return []
    own = (METADATA, TASKS, STAGING)
    return sorted(path for path in store.iterdir() if path.name not in own and not is_litter(path))


def task_files(folder: Path) -> Iterator[str]:
    """The files below the group of a task, or of all tasks, without the system's litter.

    Yields:
        Paths below the folder, with ``/`` between their parts; what a linked folder holds is not among them.
    """
    return _files_below(str(folder), "")


def _files_below(folder: str, prefix: str) -> Iterator[str]:
    try:
        entries = list(os.scandir(folder))
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return
    for entry in entries:
        if _is_litter(entry.name):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _files_below(entry.path, f"{prefix}{entry.name}/")
        elif entry.is_file(follow_symlinks=False) or Path(entry.path).is_file():
            yield prefix + entry.name


def carry_over(store: Path, replacement: Path) -> None:
    """Copy what a user put into a store to the one that will replace it.

    Raises:
        ConflictError: there is a foreign file among the tasks, which would be lost.
    """
    check_tasks_folder(store)
    for path in foreign_entries(store):
        target = replacement / path.name
        remove(target)
        if path.is_dir() and not path.is_symlink():
            shutil.copytree(path, target, symlinks=True)
        else:
            shutil.copy2(path, target, follow_symlinks=False)


def check_tasks_folder(store: Path) -> None:
    """Refuse to replace a store with foreign files among its tasks.

    Raises:
        ConflictError: there is such a file or folder.
    """
    for path in task_files(store / TASKS):
        if not OWN_FILE.fullmatch(path):
            raise ConflictError(
                f"{store / TASKS / path}: is not a part of the store and would be lost: move it away first"
            )
