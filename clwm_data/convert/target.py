"""Where converted data goes: a store that says where it comes from, and that its collection is not known."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from clwm_data.edit.building import building, description
from clwm_data.families.base import Task
from clwm_data.manifest import BehaviourEntry, Manifest
from clwm_data.opening import open_store
from clwm_data.paths import dataset_name
from clwm_data.store.arrays import TaskArrays
from clwm_data.store.format import Edit, Provenance, Source
from clwm_data.store.provenance import current_provenance
from clwm_data.store.reader import Store
from clwm_data.store.writer import write_root, write_task

#: Of data whose collection nobody recorded.
UNKNOWN = Provenance(created="", command="", packages={}, platform="")


def write_converted(
    target: Path,
    family: str,
    tasks: Iterable[tuple[Task, str, TaskArrays]],
    source: str,
    sha256: str,
    options: dict[str, str],
    *,
    licence: str | None = None,
    authors: list[str] | None = None,
    text: str = "",
) -> Store:
    """Write a store of converted tasks.

    Args:
        target: folder of the store; nothing may be there.
        family: name of the task family.
        tasks: each with the name of the policy that acted, and its episodes.
        source: name of what was converted.
        sha256: digest of what was converted.
        options: how it was converted.
        licence: of the data, where it is known.
        authors: of the data, where they are known.
        text: what the data is.

    Raises:
        ClwmError: ``target`` is there already, or the disk is full.
    """
    mixtures: dict[int, list[BehaviourEntry]] = {}
    with building(target) as aside:
        aside.mkdir(exist_ok=True)
        template = Manifest(
            name="converted",
            family=family,
            description=text,
            behaviours=[BehaviourEntry(policy="unknown", episodes=1)],
            licence=licence,
            authors=authors or [],
        )
        for task, policy, arrays in tasks:
            mixtures[task.index] = [BehaviourEntry(policy=policy, episodes=arrays.episodes)]
            write_task(aside, task, mixtures[task.index], arrays, template.storage)
        edited = Edit(
            operation="convert",
            options=options,
            by=current_provenance(),
            sources=[Source(name=source, content_sha256=sha256, manifest=None, provenance=None)],
        )
        write_root(
            aside,
            description(dataset_name(target, template.name), template, mixtures),
            UNKNOWN,
            edited=edited,
        )
    return open_store(target)
