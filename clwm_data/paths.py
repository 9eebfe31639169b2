"""Paths that users give: made absolute, links resolved; and the names of datasets."""

from __future__ import annotations

import errno
import os
import re
import unicodedata
from pathlib import Path

from clwm_data.errors import InvalidInputError
from clwm_data.mistaken import MARKS

SUFFIX = ".zarr"

#: Longest name of a folder in bytes: file systems allow 255, and names of what lies beside it are longer.
LONGEST_NAME = 120


def expand_home(path: Path | str) -> Path:
    """A path whose ``~`` or ``~user`` at the beginning is replaced by the home folder.

    Shells leave it to us in ``--out=~/runs/x``, and in files nobody else does it.

    Raises:
        InvalidInputError: there is no home folder.
    """
    path = Path(path)
    if not str(path).startswith("~"):
        return path
    try:
        return path.expanduser()
    except RuntimeError as error:
        if path.parts[0] != "~":  # a file's name, and no user's
            return path
        raise InvalidInputError(f"{path}: there is no home folder here: write the whole path") from error


def real_path(path: Path | str) -> Path:
    """An absolute path without symbolic links, so that whatever is created beside it is on the same disk.

    ``~`` is the home folder. The last part need not exist, and a link may point to something that does not
    exist yet.

    Raises:
        InvalidInputError: an empty path, or links that form a loop.
    """
    if not str(path).strip():
        raise InvalidInputError("the path is empty: name a folder")
    path = expand_home(path)
    try:
        os.stat(path)  # noqa: PTH116 (Path would turn an empty path into ".")
    except ValueError as error:  # a null character
        raise InvalidInputError(f"{str(path)!r}: is not a path: {error}") from error
    except OSError as error:
        if error.errno == errno.ELOOP:
            message = f"{path}: its symbolic links form a loop: remove them"
            raise InvalidInputError(message) from error
    return Path(os.path.realpath(path))


def target_path(path: Path | str) -> Path:
    """The real path at which something will be created or replaced; see :func:`real_path`.

    Raises:
        InvalidInputError: an empty path, the root of the file system, or a folder below a file, or inside a
            store or a run.
    """
    resolved = real_path(path)
    if resolved == resolved.parent:
        raise InvalidInputError(f"{path}: is the root of the file system: name a folder in it")
    for parent in resolved.parents:
        if parent.exists():
            if not parent.is_dir():
                raise InvalidInputError(f"{path}: {parent} is a file, not a folder: choose another place")
            break
    for parent in resolved.parents:
        for kind, (mark, _) in MARKS.items():
            if (parent / mark).is_file():
                raise InvalidInputError(f"{path}: lies inside the {kind} {parent}: choose a place outside it")
    return resolved


def check_file_place(path: Path) -> None:
    """Check that a file can be written at a path; call it before the work whose result it is to hold.

    Raises:
        InvalidInputError: the path is a folder, a parent is a file, or nothing can be written there.
    """
    if path.is_dir():
        raise InvalidInputError(f"{path}: is a folder: name a file in it")
    nearest = next(parent for parent in path.absolute().parents if parent.exists())
    if not nearest.is_dir():
        raise InvalidInputError(f"{path}: {nearest} is a file: choose another place")
    if not os.access(nearest, os.W_OK):
        raise InvalidInputError(f"{path}: nothing can be written in {nearest}: choose another place")


def check_page_place(path: Path) -> None:
    """Check that a page can be written at a path, where it replaces an older one and no file of another kind.

    Raises:
        InvalidInputError: the name does not end in .html, or as :func:`check_file_place`.
    """
    check_file_place(path)
    if path.suffix.lower() not in (".html", ".htm"):
        raise InvalidInputError(f"{path}: is not the name of a page: let it end in .html")


def fitting_name(name: str, digest: str) -> str:
    """A folder's name that file systems can hold: the name itself, or its beginning and that of a digest,
    which tells it from other names with the same beginning."""
    encoded = name.encode()
    if len(encoded) <= LONGEST_NAME:
        return name
    return f"{encoded[: LONGEST_NAME - 9].decode(errors='ignore')}-{digest[:8]}"


def store_file(name: str) -> str:
    """Name of a dataset's folder, ``point-robot.zarr``; the dataset's own name may end in ``.zarr``, too."""
    return f"{name.removesuffix(SUFFIX)}{SUFFIX}"


def dataset_name(path: Path | str, fallback: str) -> str:
    """The name of a dataset, from that of its folder, with invalid characters replaced by hyphens.

    Args:
        path: the folder as the user named it; links in it are not resolved.
        fallback: the name if nothing of the folder's name is left.
    """
    # abspath: "." and "x/.." have a name, too
    folder = Path(os.path.abspath(path)).name.removesuffix(SUFFIX)  # noqa: PTH100
    plain = unicodedata.normalize("NFKD", folder).encode("ascii", "ignore").decode()
    return re.sub(r"[^A-Za-z0-9._-]+", "-", plain).strip("-._")[:96] or fallback
