"""What a store holds, as plain values for ``clwm info`` and for programs."""

from __future__ import annotations

from typing import Any

from clwm_data.ranges import format_indices
from clwm_data.store.reader import Store


def summarise(store: Store) -> dict[str, Any]:
    """A JSON-ready summary, from the metadata alone.

    Returns:
        ``name, family, format_version, complete, missing_tasks, episodes, transitions, bytes, content_sha256,
        manifest, provenance`` and ``tasks``: per task ``task, split, parameters, episodes, transitions,
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
        "tasks": tasks,
    }


def store_bytes(store: Store) -> int:
    """Size of the store's files."""
    files = sum(file.bytes for task in store.tasks.values() for file in task.record.files.values())
    return files + store.root.bytes


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
