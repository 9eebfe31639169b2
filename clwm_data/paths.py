"""Paths as users give them: absolute, without links, and what they can be called."""

from __future__ import annotations

import errno
import os
import re
import unicodedata
from pathlib import Path

from clwm_data.errors import InvalidInputError

SUFFIX = ".zarr"


def real_path(path: Path | str) -> Path:
    """An absolute path without symbolic links, so that whatever is made beside it lies on the same disk.

    The last part need not exist, and a link may point to what is not there yet.

    Raises:
        InvalidInputError: an empty path, or links that lead in a circle.
    """
    if not str(path).strip():
        raise InvalidInputError("the path is empty: name a folder")
    try:
        os.stat(path)  # noqa: PTH116 (of an empty path, Path would make ".")
    except ValueError as error:  # a null character
        raise InvalidInputError(f"{str(path)!r}: is no path: {error}") from error
    except OSError as error:
        if error.errno == errno.ELOOP:
            message = f"{path}: its symbolic links lead in a circle: remove them"
            raise InvalidInputError(message) from error
    return Path(os.path.realpath(path))


def target_path(path: Path | str) -> Path:
    """Where something is to be made or replaced, as :func:`real_path`.

    Raises:
        InvalidInputError: an empty path, the root of the file system, or a folder below a file.
    """
    resolved = real_path(path)
    if resolved == resolved.parent:
        raise InvalidInputError(f"{path}: is the root of the file system: name a folder in it")
    for parent in resolved.parents:
        if parent.exists():
            if not parent.is_dir():
                raise InvalidInputError(f"{path}: {parent} is a file, not a folder: choose another place")
            break
    return resolved


def store_file(name: str) -> str:
    """Name of the folder of a dataset, which may end in ``.zarr`` itself: ``point-robot.zarr``."""
    return f"{name.removesuffix(SUFFIX)}{SUFFIX}"


def dataset_name(path: Path | str, fallback: str) -> str:
    """The name of a dataset after its folder, whose other characters become hyphens.

    Args:
        path: the folder as the user named it; links in it are not resolved.
        fallback: where nothing of the folder's name is left.
    """
    # abspath: "." and "x/.." have a name, too
    folder = Path(os.path.abspath(path)).name.removesuffix(SUFFIX)  # noqa: PTH100
    plain = unicodedata.normalize("NFKD", folder).encode("ascii", "ignore").decode()
    return re.sub(r"[^A-Za-z0-9._-]+", "-", plain).strip("-._")[:96] or fallback
