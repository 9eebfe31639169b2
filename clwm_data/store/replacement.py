"""Replacing a store by another one that is built beside it, and moved into its place when it is complete.

Where the system can, the two are swapped in one step, so that at every moment the path names one of them.
Elsewhere the old store is renamed first. A process killed between the two renames leaves no store at the
path; :func:`settle`, called before any store is opened, brings the old one back. A store that cannot be
renamed (a mount point, the current folder) has its content replaced, by a few renames that :func:`settle`
completes if the process is killed between them.
"""

from __future__ import annotations

import errno
import os
import shutil
import time
from contextlib import suppress
from pathlib import Path

from clwm_data.errors import ConflictError
from clwm_data.store.atomic import move, remove, remove_tree, sync, sync_tree
from clwm_data.store.exchange import exchange
from clwm_data.store.format import METADATA, STAGING, TASKS
from clwm_data.store.lock import OUTDATED, StoreLock, lock_file, locked

#: In the staging folder: a complete store, about to be put in place; and what it replaces.
INCOMING, OUTGOING = "incoming", "outgoing"
#: A folder that is a mount point, or that lies on another file system than its neighbours.
IMMOVABLE = (errno.EBUSY, errno.EXDEV)
#: How long readers wait for a replacement that is under way.
SETTLE_SECONDS = 30.0


def beside(store: Path, purpose: str) -> Path:
    """Where a store that will be at a path is built: on the same file system, whatever is mounted where."""
    if os.path.ismount(store) or _is_current(store):
        return store / STAGING / purpose
    return store.with_name(f".{store.name}.{purpose}")


def _is_current(store: Path) -> bool:
    """Whether the current folder lies in the store, and would no longer exist after a rename."""
    with suppress(FileNotFoundError):
        return Path.cwd().is_relative_to(store)
    return False


def put_in_place(new: StoreLock, target: Path) -> None:
    """Move a complete store to a path where nothing is.

    Raises:
        OSError: there is something at ``target``.
    """
    clear_staging(new.store)
    sync_tree(new.store)
    move(new.store, target)
    new.moved_to(target)


def replace_store(old: StoreLock, new: StoreLock) -> None:
    """Replace an old store by a complete new one, and remove it; at every moment one of them is whole."""
    out, built = old.store, new.store
    clear_staging(built)
    sync_tree(built)
    if built.parent == out / STAGING:
        _replace_inside(out, built)
        clear(built)
        return
    mark = out / STAGING / OUTDATED
    mark.touch()  # marks the one to remove after the swap
    sync(mark.parent)
    try:
        if exchange(out, built):
            sync(out.parent)
            old.moved_to(built)
            new.moved_to(out)
        else:
            _rename_both(old, new)
    except OSError as error:
        mark.unlink(missing_ok=True)
        if error.errno not in IMMOVABLE:
            raise
        _replace_inside(out, built)
        clear(built)
        return
    _remove_if_possible(old.store)


def is_outdated(store: Path) -> bool:
    """Whether a store was replaced by another, and only its removal is left to do."""
    return (store / STAGING / OUTDATED).exists()


def settle(store: Path) -> None:
    """Undo or complete a replacement whose process was killed; wait for one that is under way.

    Raises:
        ConflictError: a replacement does not end.
        OSError: the store cannot be written to.
    """
    if store == store.parent:  # the root of the file system
        return
    deadline = time.monotonic() + SETTLE_SECONDS
    while (not store.exists() and _replaced(store).exists()) or (store / STAGING / INCOMING).exists():
        try:
            _settle(store)
        except ConflictError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def clear_staging(store: Path) -> None:
    """Empty the staging folder of a complete store, except for its lock."""
    staging = store / STAGING
    for path in staging.iterdir() if staging.is_dir() else ():
        if not path.name.startswith(lock_file(store).name):
            remove(path)


def clear(aside: Path) -> None:
    """Empty the folder in which a store is built, except for its lock."""
    if not aside.is_dir():
        return  # it has just been moved
    for path in aside.iterdir():
        if path.name != STAGING:
            remove(path)
    clear_staging(aside)


def remove_if_empty(aside: Path) -> None:
    """Remove the folder in which a store was built, and the staging folder that it lies in."""
    with suppress(OSError):
        aside.rmdir()
        if aside.parent.name == STAGING:
            aside.parent.rmdir()


def remove_replaced(store: Path) -> None:
    """Remove the old store that a killed replacement left behind; the caller holds the lock of ``store``."""
    _remove_if_possible(_replaced(store))


def _replaced(store: Path) -> Path:
    """Where an old store waits for its removal while the new one takes its place."""
    return store.with_name(f".{store.name}.replaced.partial")


def _rename_both(old: StoreLock, new: StoreLock) -> None:
    out, built = old.store, new.store
    remove_tree(_replaced(out))
    move(out, _replaced(out))
    old.moved_to(_replaced(out))
    try:
        move(built, out)
    except OSError:
        move(old.store, out)
        old.moved_to(out)
        raise
    new.moved_to(out)


def _settle(store: Path) -> None:
    waiting = _replaced(store)
    if waiting.exists():
        with locked(waiting) as held:
            if not store.exists():
                move(waiting, store)
                held.moved_to(store)
            return
    with locked(store):
        _bring_in(store)


def _replace_inside(out: Path, built: Path) -> None:
    """Replace the content of a store whose folder stays."""
    staging = out / STAGING
    incoming, unfinished = staging / INCOMING, staging / f"{INCOMING}.partial"
    remove_tree(unfinished)
    try:
        unfinished.mkdir()
        for name in (TASKS, METADATA):
            if built.parent == staging:
                move(built / name, unfinished / name)
            else:  # on another file system
                _copy(built / name, unfinished / name)
        move(unfinished, incoming)
    except BaseException:
        remove_tree(unfinished)
        raise
    _bring_in(out)


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target)
        sync_tree(target)
    else:
        shutil.copyfile(source, target)
        sync(target)


def _bring_in(out: Path) -> None:
    """Complete the replacement of a store's content; steps that were done before are skipped."""
    incoming, outgoing = out / STAGING / INCOMING, out / STAGING / OUTGOING
    if not incoming.exists():
        return
    if (incoming / TASKS).exists():
        if (out / TASKS).exists():
            remove_tree(outgoing)
            move(out / TASKS, outgoing)
        move(incoming / TASKS, out / TASKS)
    if (incoming / METADATA).exists():
        move(incoming / METADATA, out / METADATA)
    remove_tree(incoming)
    remove_tree(outgoing)


def _remove_if_possible(folder: Path) -> None:
    """Remove a folder if possible; else the next writer tries again."""
    try:
        remove_tree(folder)
    except OSError:  # files that others have open, on a network file system
        return
