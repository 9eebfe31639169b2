"""What a store holds, as plain values for ``clwm info`` and for programs."""

from __future__ import annotations

from typing import Any

from clwm_data.ranges import format_indices, task_list
from clwm_data.store.overview import store_bytes
from clwm_data.store.reader import Store


def summarise(store: Store) -> dict[str, Any]:
    """A JSON-ready summary, from the metadata and the sizes of files.

    Returns:
        ``name, family, format_version, complete, missing_tasks, episodes, transitions, bytes, content_sha256,
        manifest, provenance``, ``origin`` (``None`` if it was not downloaded), ``edited`` (``None`` if it was
        not edited), ``warnings`` and ``tasks``: per task ``task, split, parameters, episodes, transitions,
        return_mean, return_std, return_min, return_max, success_rate, behaviours``.
    """
    tasks = [_task(store, index) for index in store.tasks]
    return {
        "name": store.name,
        "family": store.family,
        "format_version": store.record.format_version,
        "complete": not store.missing_tasks,
        "missing_tasks": format_indices(store.missing_tasks) if store.missing_tasks else "",
        "episodes": sum(task["episodes"] for task in tasks),
        "transitions": sum(task["transitions"] for task in tasks),
        "bytes": store_bytes(store),
        "content_sha256": store.record.content_sha256,
        "manifest": store.manifest.model_dump(mode="json"),
        "provenance": store.provenance.model_dump(mode="json"),
        "origin": None if store.origin is None else store.origin.model_dump(mode="json"),
        "edited": None if store.record.edited is None else store.record.edited.model_dump(mode="json"),
        "warnings": [*_damage(store), *missing_provenance(store)],
        "tasks": tasks,
    }


def _damage(store: Store) -> list[str]:
    """A line if tasks that the store lists are not there as it says."""
    damaged = {task.index: damage for task in store if (damage := task.damage()) is not None}
    if not damaged:
        return []
    first, what = next(iter(damaged.items()))
    more = f", {task_list([index for index in damaged if index != first])} too" if len(damaged) > 1 else ""
    return [f"damaged: task {first} {what}{more}: `clwm validate` shows all that is wrong"]


def missing_provenance(store: Store) -> list[str]:
    """One line for each fact that users of the data need and the store does not record."""
    manifest, provenance = store.manifest, store.provenance
    missing: dict[str, object] = {
        "no licence: nobody knows what may be done with the data (the manifest states it, or "
        "`clwm push --licence`)": manifest.licence,
        "no authors: nobody can be credited or asked (the manifest names them, or "
        "`clwm push --author`)": manifest.authors,
        "no description": manifest.description.strip(),
        "no date of the collection": provenance.created,
        "no command line of the collection": provenance.command,
        "no package versions: bits may differ from one to another": provenance.packages,
        "no machine type: bits may differ from one to another": provenance.platform,
    }
    for name, what in (("episode_seed", "seeds"), ("episode_initial_state", "initial simulator states")):
        lacking = [index for index, task in store.tasks.items() if name not in task.record.arrays]
        missing[f"no {what} in {task_list(lacking)}: they cannot be re-simulated"] = not lacking
    return [text for text, present in missing.items() if not present]


def _task(store: Store, index: int) -> dict[str, Any]:
    record = store.tasks[index].record
    returns = record.statistics.returns
    return {
        "task": index,
        "split": record.split,
        "parameters": record.parameters,
        "episodes": record.episodes,
        "transitions": record.transitions,
        "return_mean": returns.mean,
        "return_std": returns.std,
        "return_min": returns.min,
        "return_max": returns.max,
        "success_rate": record.statistics.success_rate,
        "behaviours": [
            {**entry.model_dump(), "return_mean": None if statistics is None else statistics.mean}
            for entry, statistics in zip(
                record.behaviours, record.statistics.returns_by_behaviour, strict=True
            )
        ],
    }
