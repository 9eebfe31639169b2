"""A session: whole episodes on disk, beside the store that will take them in.

Sessions lie in a folder of their own, ``.<name>.recording`` beside the store, so that nobody who collects
into the store or edits it meanwhile loses them. A session whose process lives holds its lock.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError

from clwm_data.bounded import read_bounded
from clwm_data.errors import DamagedDataError
from clwm_data.families.base import Split
from clwm_data.families.declared.declaration import FamilyDeclaration
from clwm_data.locks import Lock
from clwm_data.store.arrays import Episode, TaskArrays
from clwm_data.store.atomic import remove_tree, write_json
from clwm_data.store.format import STAGING, Provenance
from clwm_data.store.sealed import open_sealed, write_sealed
from clwm_data.strict import StrictModel, Text, first_mistake

DESCRIPTION, LOCK, SUFFIX = "session.json", "lock", ".episode"


class Session(StrictModel):
    """What all episodes of a session share.

    Attributes:
        family: name of the task family.
        declared_family: its declaration, if it has one.
        task: index of the task.
        split: of the task.
        parameters: of the task.
        policy: name of what acted.
        notes: who recorded what, under which licence, in words.
        provenance: when, by which command, with which versions.
    """

    family: Text
    declared_family: FamilyDeclaration | None = None
    task: int = Field(ge=0)
    split: Split
    parameters: dict[Text, float | list[float]]
    policy: Annotated[Text, Field(min_length=1)]
    notes: dict[Text, Text]
    provenance: Provenance


class SessionFolder:
    """A session on disk.

    Attributes:
        name: of the session; no other has it.
        session: what its episodes share.
    """

    def __init__(self, path: Path, session: Session, lock: Lock) -> None:
        self.name = path.name
        self.session = session
        self._path = path
        self._lock = lock
        self._count = len(self._files())

    @staticmethod
    def begin(folder: Path, name: str, session: Session) -> SessionFolder:
        """A new session in the folder of a store's sessions, whose lock is held."""
        path = folder / name
        path.mkdir(parents=True)
        lock = Lock(path / LOCK)
        lock.acquire()
        write_json(path / DESCRIPTION, session.model_dump(mode="json"))
        return SessionFolder(path, session, lock)

    @staticmethod
    def left_by_others(folder: Path) -> list[SessionFolder]:
        """Sessions of processes that ended without a word, oldest first; their locks are held now.

        Raises:
            DamagedDataError: what a session left cannot be read.
        """
        sessions: list[SessionFolder] = []
        for path in sorted(path for path in folder.iterdir() if path.is_dir()):
            lock = Lock(path / LOCK)
            if not lock.acquire():
                continue
            try:
                text = read_bounded(path / DESCRIPTION)
                sessions.append(SessionFolder(path, Session.model_validate_json(text), lock))
            except FileNotFoundError:  # killed before it had begun, or when it was being removed
                lock.release()
                remove_tree(path)
            except ValidationError as error:
                lock.release()
                for session in sessions:
                    session.release()
                raise DamagedDataError(
                    f"{path}/{DESCRIPTION}: is damaged: {first_mistake(error)}: move this folder away"
                ) from error
        return sessions

    def add(self, episode: Episode) -> None:
        """Keep a whole episode.

        Raises:
            OSError: the disk is full.
        """
        arrays = TaskArrays.from_episodes([episode]).sealed()
        write_sealed(self._path / f"{self._count:08d}{SUFFIX}", arrays)
        self._count += 1

    def episodes(self) -> list[Episode]:
        """All episodes, in order.

        Raises:
            DamagedDataError: a file is damaged.
        """
        loaded: list[Episode] = []
        for file in self._files():
            with open_sealed(file, "move this file away; all other episodes are kept") as arrays:
                loaded += TaskArrays.unsealed(arrays)
        return loaded

    def __len__(self) -> int:
        """Number of episodes."""
        return self._count

    def release(self) -> None:
        """Give up the lock, and let the episodes lie."""
        self._lock.release(remove=True)

    def remove(self) -> None:
        """Remove the session, whose episodes are in the store; without a description it is none any more."""
        (self._path / DESCRIPTION).unlink(missing_ok=True)
        self._lock.release()
        remove_tree(self._path)

    def _files(self) -> list[Path]:
        return sorted(self._path.glob(f"*{SUFFIX}"))


def sessions_folder(store: Path) -> Path:
    """Where the sessions of a store lie, whatever happens to the store's own folder."""
    if os.path.ismount(store):  # Path.is_mount is missing on Windows in Python 3.11
        return store / STAGING / "recording"
    return store.with_name(f".{store.name}.recording")
