"""Taking the whole episodes of sessions into their store, in one step: all of them are in it, or none.

The store's record lists its sessions with the number of their episodes that it holds, so that a process that
is killed between this step and the removal of a session does not give it the same episodes twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from clwm_data.disk import disk_errors
from clwm_data.edit.building import (
    building,
    copy_task,
    description,
    distinct,
    edit,
    manifest_of,
    policy_key,
    present,
    rebuilding,
)
from clwm_data.errors import ConflictError
from clwm_data.families.base import Task, with_tuples
from clwm_data.locks import exclusive
from clwm_data.manifest import BehaviourEntry, Manifest
from clwm_data.opening import open_store
from clwm_data.paths import dataset_name, target_path
from clwm_data.recording.session import Session, SessionFolder, sessions_folder
from clwm_data.store.arrays import OPTIONAL, Episode, TaskArrays
from clwm_data.store.digest import array_sha256, json_sha256
from clwm_data.store.format import METADATA, Edit, Source
from clwm_data.store.history import EPISODES_OF, session_counts
from clwm_data.store.reader import Store
from clwm_data.store.replacement import settle
from clwm_data.store.root_writer import write_root
from clwm_data.store.writer import write_task

#: How long another session of the same store may take to put its episodes into it.
WAIT_SECONDS = 600.0


@dataclass(frozen=True)
class _Taken:
    """New episodes of one session."""

    name: str
    session: Session
    already: int
    episodes: list[Episode]


def recover_recording(path: Path | str) -> Store:
    """Take in what recorders left whose processes were killed; the next recorder of the store does so, too.

    Args:
        path: folder of the store, which may not exist yet.

    Raises:
        NotFoundError: there is neither a store nor anything recorded for it.
        ConflictError: another process writes to the store.
        DamagedDataError: what was recorded is damaged.
        UnavailableError: the disk is full, or write-protected.
    """
    place = target_path(path)
    if sessions_folder(place).is_dir():
        with sessions_lock(place):
            take_in_left_by_others(place)
    return open_store(path)


@contextmanager
def sessions_lock(place: Path) -> Iterator[Path]:
    """The right to begin sessions of a store, and to take them in; gives their folder.

    Raises:
        ConflictError: another process does so for too long.
        UnavailableError: the disk is full, or write-protected.
    """
    folder = sessions_folder(place)
    busy = f"{place}: another process is putting its episodes into it: try again when it has ended"
    with disk_errors(place, "episodes that were recorded are kept"):
        try:
            with exclusive(folder / "lock", busy, seconds=WAIT_SECONDS, remove=True):
                yield folder
        finally:
            with suppress(OSError):  # there are sessions in it
                folder.rmdir()


def take_in_left_by_others(place: Path) -> None:
    """Take in the sessions of killed processes; of a store whose sessions' lock is held."""
    sessions = SessionFolder.left_by_others(sessions_folder(place))
    try:
        take_in(place, sessions)
    except BaseException:
        for session in sessions:
            session.release()
        raise
    for session in sessions:
        session.remove()


def take_in(place: Path, sessions: Sequence[SessionFolder]) -> None:
    """Have a store hold all episodes of some sessions; it is made if it does not exist.

    Raises:
        ConflictError: another process writes to the store, or their episodes do not fit to those in it.
        DamagedDataError: an episode or the store is damaged.
        OSError: the disk is full.
    """
    store = store_at(place)
    if not any(taken.episodes for taken in _new_episodes(store, sessions)):
        return
    if store is None:
        with building(place) as aside:
            _write(aside, place, None, sessions)
    else:
        with rebuilding(place) as aside:
            _write(aside, place, open_store(place), sessions)


def store_at(place: Path) -> Store | None:
    """The store in a folder, or ``None`` where nothing is.

    Raises:
        ConflictError: something else is there.
        DamagedDataError: the store is damaged.
    """
    settle(place)
    if not place.exists():
        return None
    if not (place / METADATA).is_file():
        raise ConflictError(f"{place}: is there, and no store: choose another name")
    return open_store(place)


def _new_episodes(store: Store | None, sessions: Sequence[SessionFolder]) -> list[_Taken]:
    counts = {} if store is None or store.record.edited is None else _counts(store.record.edited)
    return [
        _Taken(
            folder.name,
            folder.session,
            already := counts.get(folder.name, 0),
            folder.episodes()[already:],
        )
        for folder in sessions
    ]


def _counts(edited: Edit) -> dict[str, int]:
    """Session -> number of its episodes that a store took in, also before it was edited otherwise."""
    counts: dict[str, int] = {}
    for source in edited.sources:
        if source.edited is not None:
            counts |= _counts(source.edited)
    return counts | session_counts(edited)


def _write(aside: Path, place: Path, store: Store | None, sessions: Sequence[SessionFolder]) -> None:
    taken = [session for session in _new_episodes(store, sessions) if session.episodes]
    by_task: dict[int, list[_Taken]] = {}
    for part in taken:
        by_task.setdefault(part.session.task, []).append(part)
    manifest = _template(place, taken[0].session) if store is None else store.manifest
    mixtures: dict[int, list[BehaviourEntry]] = {}
    for index in sorted({*by_task, *(() if store is None else store.tasks)}):
        stored = None if store is None or index not in store.tasks else store.tasks[index]
        if index not in by_task:
            assert store is not None
            assert stored is not None
            copy_task(store, stored, aside, link=True)
            mixtures[index] = stored.record.behaviours
            continue
        session = by_task[index][0].session
        mixture = [] if stored is None else stored.record.behaviours
        arrays, entries = _joined(
            f"{place}: task {index}", None if stored is None else stored.load(), mixture, by_task[index]
        )
        mixtures[index] = entries
        write_task(aside, _task(session), entries, arrays, manifest.storage)
    name = dataset_name(place, manifest.name) if store is None else store.name
    write_root(
        aside,
        _credited(description(name, manifest, mixtures), taken),
        taken[0].session.provenance if store is None else store.provenance,
        edited=_edited(store, taken),
    )


def _joined(
    where: str, stored: TaskArrays | None, mixture: list[BehaviourEntry], parts: Sequence[_Taken]
) -> tuple[TaskArrays, list[BehaviourEntry]]:
    """The episodes of a task with those of sessions behind them, and the mixture that made them all."""
    entries = {policy_key(entry): entry for entry in mixture}
    episodes = [] if stored is None else list(stored)
    for part in parts:
        entry = BehaviourEntry(policy=part.session.policy, episodes=1)
        entries.setdefault(policy_key(entry), entry)
        behaviour = list(entries).index(policy_key(entry))
        episodes += [replace(episode, behaviour=behaviour) for episode in part.episodes]
    for episode in episodes[1:]:
        if (mistake := difference(episodes[0], episode)) is not None:
            raise ConflictError(f"{where}: episodes do not fit together: {mistake}: record to another store")
    arrays = TaskArrays.from_episodes(episodes)
    kept, index = present(list(entries.values()), arrays)
    return replace(arrays, episode_behaviour=index), kept


def difference(first: Episode, other: Episode) -> str | None:
    """Why two episodes cannot be of one task; ``None`` if they can."""
    for name in ("observation", "action"):
        sizes = [getattr(episode, name).shape[1] for episode in (first, other)]
        if sizes[0] != sizes[1]:
            return f"their {name}s have {sizes[0]} and {sizes[1]} entries"
    if first.discrete != other.discrete:
        return "only some have discrete actions"
    optional = {name.removeprefix("episode_") for name in OPTIONAL}
    for name in sorted(optional):
        if (getattr(first, name) is None) != (getattr(other, name) is None):
            return f"only some have a {name.replace('_', ' ')}"
    return None


def _task(session: Session) -> Task:
    return Task(session.task, session.split, with_tuples(session.parameters))


def _template(place: Path, session: Session) -> Manifest:
    return manifest_of(
        place,
        name=dataset_name(place, "recorded"),
        family=session.family,
        declared_family=session.declared_family,
        behaviours=[BehaviourEntry(policy=session.policy, episodes=1)],
        licence=session.notes.get("licence"),
    )


def _credited(manifest: Manifest, taken: Sequence[_Taken]) -> Manifest:
    """The manifest with who and what of sessions added."""
    notes = [part.session.notes for part in taken]
    what = [manifest.description, *(note.get("what", "") for note in notes)]
    who = [*manifest.authors, *(note.get("who", "") for note in notes)]
    return manifest.model_copy(
        update={"description": "\n".join(distinct(what)), "authors": distinct(who)},
    )


def _edited(store: Store | None, taken: Sequence[_Taken]) -> Edit:
    """The record of the sessions in a store, those before included."""
    begun = edit("record", {}, [] if store is None else [store])
    if store is not None and store.record.edited is not None and store.record.edited.operation == "record":
        before = store.record.edited
        begun = begun.model_copy(update={"options": before.options, "sources": before.sources})
    options, sources = dict(begun.options), {source.name: source for source in begun.sources}
    for part in taken:
        options[part.name] = "; ".join(
            f"{name}: {text}" for name, text in {"task": str(part.session.task), **part.session.notes}.items()
        )
        options[f"{EPISODES_OF}{part.name}"] = str(part.already + len(part.episodes))
        digests = [array_sha256(episode.action) for episode in part.episodes]
        before_here = sources.get(part.name)
        sources[part.name] = Source(
            name=part.name,
            content_sha256=json_sha256([before_here and before_here.content_sha256, *digests]),
            manifest=None,
            provenance=part.session.provenance,
        )
    return begun.model_copy(update={"options": options, "sources": list(sources.values())})


def check_family_name(place: Path, session: Session) -> None:
    """Refuse what cannot be the name of a family.

    Raises:
        InvalidInputError: see above.
    """
    _template(place, session)


def check_licence(store: Store | None, notes: Mapping[str, str]) -> None:
    """Refuse episodes under another licence than those that they would be mixed with.

    Raises:
        ConflictError: the store has another one.
    """
    licence = notes.get("licence")
    if store is not None and licence is not None and licence != store.manifest.licence:
        known = f"the licence {store.manifest.licence}" if store.manifest.licence else "no licence"
        raise ConflictError(
            f"{store.path}: has {known}, this session {licence}: record to another store "
            "(`clwm merge` joins stores, with both licences)"
        )
