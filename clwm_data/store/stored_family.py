"""The family of a store, as its data shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from clwm_data.errors import NotFoundError
from clwm_data.families.stored import FamilyDescription, FamilyFacts, StoredFamily, TaskDescription

if TYPE_CHECKING:
    from clwm_data.store.reader import Store


def describe_family(store: Store) -> FamilyDescription:
    """What a store says of its family.

    Raises:
        NotFoundError: the store holds no task.
    """
    if not len(store):
        raise NotFoundError(f"{store.path}: holds no task")
    first = next(iter(store))
    return FamilyDescription(
        facts=store.manifest.family_facts or FamilyFacts(),
        tasks=[
            TaskDescription(index=task.index, split=task.split, parameters=task.record.parameters)
            for task in store
        ],
        has_success="success" in first.arrays,
        discrete=first.record.discrete_actions is not None,
    )


def longest_episode(store: Store) -> int:
    """Number of steps of the longest episode; 0 if there is none."""
    lengths = (np.asarray(task.array("episode_length")[...]) for task in store)
    return max((int(length.max()) for length in lengths), default=0)


def stored_family(store: Store) -> StoredFamily:
    """The family of a store, as its data shows it.

    Raises:
        NotFoundError: the store holds no task.
    """
    description = describe_family(store)
    first = next(iter(store))
    sizes = first.observation_size, first.action_size
    return StoredFamily(store.family, *sizes, description, lambda: longest_episode(store))
