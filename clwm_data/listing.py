"""Facts of task families for tables and JSON; they need no simulator."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from clwm_data.families.base import SPLITS, TaskFamily, with_lists
from clwm_data.families.placement import placements
from clwm_data.zoo.shipped import shipped_folder


def describe(family: TaskFamily) -> dict[str, Any]:
    """A family's facts, ready for JSON.

    Returns:
        ``name, benchmark, summary, splits`` (number of tasks of each split that has any),
        ``observation_size, action_size, discrete, horizon, varies`` (``reward``, or ``dynamics`` where the
        transition function differs between tasks), ``has_success, behaviours``.
    """
    counts = Counter(task.split for task in family.tasks)
    return {
        "name": family.name,
        "benchmark": family.benchmark,
        "summary": family.summary,
        "splits": {split: counts[split] for split in SPLITS if counts[split]},
        "observation_size": family.observation_size,
        "action_size": family.action_size,
        "discrete": family.discrete,
        "horizon": family.horizon,
        "varies": "dynamics" if family.dynamics_vary else "reward",
        "has_success": family.has_success,
        "behaviours": [*family.behaviours, *([] if shipped_folder(family) is None else ["learned"])],
    }


def describe_all(families: Iterable[TaskFamily]) -> list[dict[str, Any]]:
    """As :func:`describe`, with one row for all families of Meta-World, since only their names differ."""
    from clwm_data.families.metaworld.family import MetaWorld  # here: parameters are shown without it

    rows: list[dict[str, Any]] = []
    manipulation: list[dict[str, Any]] = []
    for family in families:
        row = describe(family)
        if isinstance(family, MetaWorld):
            if not manipulation:
                rows.append(row)
            manipulation.append(row)
        else:
            rows.append(row)
    if len(manipulation) > 1:
        dynamics = sum(row["varies"] == "dynamics" for row in manipulation)
        manipulation[0].update(
            name=f"mw-<task> ({len(manipulation)})",
            summary="a robot arm in a task of Meta-World ML1; object and hidden goal vary, "
            f"in {dynamics} of them the furniture too",
            varies="mixed",
        )
    return rows


def describe_tasks(family: TaskFamily) -> list[dict[str, Any]]:
    """Every task of a family, ready for JSON: ``task, split, parameters``, and ``group`` where it has one."""
    tasks = []
    for task in family.tasks:
        group = family.group(task.index)
        named = {} if group is None else {"group": group}
        tasks.append(
            {"task": task.index, "split": task.split, **named, "parameters": with_lists(task.parameters)}
        )
    return tasks


def describe_placement(family: TaskFamily) -> dict[str, str]:
    """Where the ``id`` and ``ood`` tasks lie, in words."""
    return {split: str(placement) for split, placement in placements(family.tasks).items()}


def format_value(value: float | Sequence[float]) -> str:
    """A number, or a tuple of numbers, with four significant digits."""
    if isinstance(value, int | float):
        return f"{0.0 if abs(value) < 1e-12 else value:.4g}"  # cos(pi / 2) is not quite zero
    return f"({', '.join(format_value(entry) for entry in value)})"


def format_parameters(parameters: Mapping[str, float | Sequence[float]]) -> str:
    """Parameters on one line: ``angle 0.3, goal (0.1, 0.2)``."""
    return ", ".join(f"{name} {format_value(value)}" for name, value in parameters.items())
