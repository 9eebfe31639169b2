"""Several stores as one."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from clwm_data.edit.building import (
    building,
    copy_task,
    description,
    distinct,
    edit,
    policy_key,
    present,
    write_episodes,
)
from clwm_data.edit.joined_family import joined_family
from clwm_data.errors import ConflictError, InvalidInputError
from clwm_data.families.base import Task
from clwm_data.manifest import BehaviourEntry, Manifest, Storage
from clwm_data.opening import open_store
from clwm_data.paths import dataset_name
from clwm_data.store.arrays import Episode, TaskArrays
from clwm_data.store.digest import array_sha256
from clwm_data.store.format import Provenance
from clwm_data.store.reader import Store
from clwm_data.store.root_writer import write_root
from clwm_data.store.stored_task import StoredTask
from clwm_data.store.writer import write_task

Part = tuple[Store, StoredTask]


def merge(sources: Sequence[Path | str | Store], target: Path | str) -> Store:
    """Make one store of several of the same family.

    The episodes of a task that several stores hold are joined in the order of the stores. What the others
    compress otherwise is written as the first store's manifest says.

    Args:
        sources: at least two stores; they are not changed.
        target: folder of the new store.

    Raises:
        NotFoundError: no such store.
        InvalidInputError: families, tasks, array widths or optional arrays disagree; fewer than two stores.
        ConflictError: an episode is in two stores, ``target`` exists already, or another process is
            making it.
        DamagedDataError: a store is damaged.
        UnavailableError: the disk is full, or write-protected.
    """
    sources = [sources] if isinstance(sources, str | Path | Store) else sources
    stores = [open_store(source) for source in sources]
    if len(stores) < 2:
        raise InvalidInputError("merging needs at least two stores")
    for store in stores[1:]:
        if store.family != stores[0].family:
            raise InvalidInputError(
                f"{store.path}: is of family {store.family}, {stores[0].path} of {stores[0].family}: "
                "only stores of the same family can be merged"
            )
    parts: dict[int, list[Part]] = {}
    for store in stores:
        for index, task in store.tasks.items():
            _check_alike(next(iter(stores[0].tasks.values())), task, store)
            parts.setdefault(index, []).append((store, task))
    if not parts:
        raise InvalidInputError(f"{stores[0].path}: holds no tasks, nor do the others")
    family = joined_family(stores, parts)
    storage = stores[0].manifest.storage
    mixtures: dict[int, list[BehaviourEntry]] = {}
    with building(target) as aside:
        for index in sorted(parts):
            if len(parts[index]) == 1:
                ((store, task),) = parts[index]
                _take_over(store, task, aside, storage)
                mixtures[index] = task.record.behaviours
                continue
            mixture, arrays = _joined(parts[index])
            write_episodes(aside, parts[index][0][1], mixture, arrays, stores[0].manifest)
            mixtures[index], _ = present(mixture, arrays)
        manifest = _credits(
            description(dataset_name(target, stores[0].name), stores[0].manifest, mixtures), stores
        ).model_copy(update=family)
        provenance = _provenance([store.provenance for store in stores])
        write_root(aside, manifest, provenance, edited=edit("merge", {}, stores))
    return open_store(target)


def _check_alike(first: StoredTask, task: StoredTask, store: Store) -> None:
    counts = [holder.record.discrete_actions for holder in (first, task)]
    if counts[0] != counts[1]:
        expected, count = ("no" if count is None else f"{count}" for count in counts)
        raise InvalidInputError(
            f"{store.path}: task {task.index}: has {count} discrete actions, the first store {expected}: "
            "they cannot be merged"
        )
    for name in sorted(first.arrays.keys() | task.arrays.keys()):
        widths = [
            holder.arrays[name].shape[1:] if name in holder.arrays else None for holder in (first, task)
        ]
        if widths[0] != widths[1]:
            expected, width = ("missing" if width is None else f"{[*width]}" for width in widths)
            raise InvalidInputError(
                f"{store.path}: task {task.index}: the shape of {name} after its rows is {width}, "
                f"in the first store {expected}: they cannot be merged"
            )


def _take_over(store: Store, task: StoredTask, target: Path, storage: Storage) -> None:
    """Write a task that only one store holds as the manifest will say that all tasks are stored."""
    if task.compression == storage.compression:
        copy_task(store, task, target)
    else:
        described = Task(task.index, task.split, task.parameters)
        write_task(target, described, task.record.behaviours, task.load(), storage)


def _joined(parts: Sequence[Part]) -> tuple[list[BehaviourEntry], TaskArrays]:
    """The mixture and the episodes of one task from several stores."""
    first_store, first = parts[0]
    mixture: dict[str, BehaviourEntry] = {}
    episodes: list[Episode] = []
    seen: dict[str, tuple[Path, str]] = {}
    for store, task in parts:
        if (task.split, task.parameters) != (first.split, first.parameters):
            raise InvalidInputError(
                f"{store.path}: task {task.index} differs from that in {first_store.path}: "
                f"{task.split} {dict(task.parameters)}, there {first.split} {dict(first.parameters)}"
            )
        for entry in task.record.behaviours:
            mixture.setdefault(policy_key(entry), entry)
        places = [list(mixture).index(policy_key(entry)) for entry in task.record.behaviours]
        for number, episode in enumerate(task.load()):
            key = _identity(episode)
            if key in seen:
                other, actions = seen[key]
                if actions != array_sha256(episode.action):
                    raise ConflictError(
                        f"{store.path}: task {task.index} episode {number} has the seed of another one in "
                        f"{other}: collect one of the two from a manifest with another `seed:`"
                    )
                raise ConflictError(
                    f"{store.path}: task {task.index} episode {number} is in {other} too: "
                    "`clwm select` one of the stores without it"
                )
            seen[key] = store.path, array_sha256(episode.action)
            episodes.append(replace(episode, behaviour=places[episode.behaviour]))
    return list(mixture.values()), TaskArrays.from_episodes(episodes)


def _identity(episode: Episode) -> str:
    """Identity of an episode: its seed, or a digest of its arrays if it has none."""
    if episode.seed is not None:
        return str(episode.seed)
    arrays = (episode.observation, episode.action, episode.reward)
    return hashlib.sha256("".join(map(array_sha256, arrays)).encode()).hexdigest()


def _credits(manifest: Manifest, stores: Sequence[Store]) -> Manifest:
    """A manifest with all descriptions, authors and licences (joined with SPDX's AND: all of them hold)."""
    manifests = [store.manifest for store in stores]
    licences = list(dict.fromkeys(manifest.licence for manifest in manifests))
    if len(licences) > 1:
        licences = [f"({licence})" if licence and " " in licence else licence for licence in licences]
    return manifest.model_copy(
        update={
            "description": "\n".join(distinct(manifest.description.strip() for manifest in manifests)),
            "authors": distinct(author for manifest in manifests for author in manifest.authors),
            # If one store has no licence, the merged one has none.
            "licence": " AND ".join(map(str, licences)) if all(licences) else None,
        }
    )


def _provenance(provenances: Sequence[Provenance]) -> Provenance:
    """One provenance; values that differ (a simulator's version) are joined, so that they match no other."""
    packages = {name for provenance in provenances for name in provenance.packages}
    return Provenance(
        created=min(provenance.created for provenance in provenances),
        command="; ".join(distinct(provenance.command for provenance in provenances)),
        packages={
            name: " and ".join(distinct(provenance.packages.get(name, "none") for provenance in provenances))
            for name in sorted(packages)
        },
        platform=" and ".join(distinct(provenance.platform for provenance in provenances)),
    )
