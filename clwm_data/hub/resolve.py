"""What people mean by a store: a path, a name under ``data/``, or something on the Hub."""

from __future__ import annotations

from pathlib import Path

from clwm_data.errors import ClwmError
from clwm_data.hub.reference import PREFIX, HubReference, looks_like_reference, parse_reference
from clwm_data.paths import real_path
from clwm_data.store.replacement import settle

SUFFIX = ".zarr"


def locate(text: str, folder: Path) -> Path | HubReference:
    """What a STORE argument means; the Hub is not asked.

    Args:
        text: a path, the name of a store in ``folder``, ``user/repo[@revision]`` or
            ``hf://datasets/user/repo[@revision][/x.zarr]``. A path that is there is never
            looked for on the Hub.
        folder: where stores lie.

    Raises:
        ClwmError: it is none of these.
    """
    path = local_path(text, folder)
    if path is not None:
        return path
    # In "data/nowhere" somebody misspelt a path: that is no business of the Hub's.
    parent = Path(text).parent
    if text.startswith(PREFIX) or (looks_like_reference(text) and parent != folder and not parent.exists()):
        return parse_reference(text)
    raise _no_store(text, folder, " nor user/repo on the Hub")


def local_path(text: str, folder: Path) -> Path | None:
    """The path that a STORE argument means on this machine."""
    path = Path(text)
    if text.startswith(PREFIX):
        return None
    settle(real_path(text))
    if path.exists():
        return path
    named = folder / f"{text.removesuffix(SUFFIX)}{SUFFIX}"
    settle(real_path(named))
    return named if path.name == text and named.exists() else None


def local_store(text: str, folder: Path) -> Path:
    """The folder of the store that is meant, on this machine only.

    Raises:
        ClwmError: there is none.
    """
    path = local_path(text, folder)
    if path is None:
        raise _no_store(text, folder, "")
    return path


def _no_store(text: str, folder: Path, elsewhere: str) -> ClwmError:
    there = sorted(entry.stem for entry in folder.glob(f"*{SUFFIX}")) if folder.is_dir() else []
    hint = f"stores under {folder}/: {', '.join(there)}" if there else "`clwm collect MANIFEST` makes one"
    return ClwmError(f"no store {text!r}, neither a path nor under {folder}/{elsewhere}: {hint}")
