"""The family of several stores: under one name they may have been collected in different environments."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from clwm_data.errors import InvalidInputError
from clwm_data.families.declared import FamilyDeclaration
from clwm_data.families.stored import FamilyFacts
from clwm_data.ranges import format_indices
from clwm_data.store.reader import Store
from clwm_data.store.stored_family import longest_episode
from clwm_data.yaml_values import printable


def joined_family(
    stores: Sequence[Store], tasks: Collection[int]
) -> dict[str, FamilyDeclaration | FamilyFacts | None]:
    """What stores of one family know of it together: keys of the manifest of ``tasks``.

    Raises:
        InvalidInputError: they contradict each other.
    """
    return {"declared_family": _declaration(stores), "family_facts": _facts(stores, tasks)}


def _declaration(stores: Sequence[Store]) -> FamilyDeclaration | None:
    """The stores' declaration; of several, which may list different tasks, the one that lists most."""
    given = [(store, store.manifest.declared_family) for store in stores]
    declared = [(store, one, one.task_list()) for store, one in given if one is not None]
    if not declared:
        return None
    holder, chosen, listed = max(declared, key=lambda each: len(each[2]))
    for store, one, tasks in declared:
        for key in ("env", "horizon", "arguments", "apply", "success", "varies"):
            here, there = getattr(one, key), getattr(chosen, key)
            if here != there:
                raise _differ(holder, store, key, there, here)
        strange = [task.index for task in tasks if task.index in store.tasks and task not in listed]
        if strange:
            raise InvalidInputError(
                f"{store.path}: its family {store.family} has another task {format_indices(strange)} than "
                f"that of {holder.path}: only stores of the same family can be merged"
            )
    return chosen


def _facts(stores: Sequence[Store], tasks: Collection[int]) -> FamilyFacts | None:
    """What the stores know of a family that is not declared.

    References of some tasks only are left out: no evaluation could be normalised by them.
    """
    given = [(store, facts) for store in stores if (facts := store.manifest.family_facts) is not None]
    if not given:
        return None
    first, known = given[0]
    references = dict(known.references or {})
    for store, facts in given[1:]:
        if facts.varies != known.varies:
            raise _differ(first, store, "varies", known.varies, facts.varies)
        if None not in (facts.horizon, known.horizon) and facts.horizon != known.horizon:
            raise _differ(first, store, "horizon", known.horizon, facts.horizon)
        known = known.model_copy(update={"horizon": known.horizon or facts.horizon})
        for task, pair in (facts.references or {}).items():
            if references.setdefault(task, pair) != pair:
                raise _differ(first, store, f"references of task {task}", references[task], pair)
    for store in stores:
        facts = store.manifest.family_facts or FamilyFacts()
        if known.horizon is None or facts.horizon is not None:
            continue
        if (longest := longest_episode(store)) > known.horizon:
            raise InvalidInputError(
                f"{store.path}: has an episode of {longest} steps, and those of {store.family} "
                f"end after {known.horizon} in another store: only stores of the same family can be merged"
            )
    complete = {str(task) for task in tasks} <= references.keys()
    return known.model_copy(update={"references": references if complete else None})


def _differ(first: Store, store: Store, key: str, there: object, here: object) -> InvalidInputError:
    return InvalidInputError(
        f"{store.path}: its family {store.family} has {key} {printable(str(here))}, that of {first.path} "
        f"{printable(str(there))}: only stores of the same family can be merged"
    )
