"""New rewards for the same transitions: data outlives the reward that it was collected for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clwm_data.edit.building import building, description, edit, write_episodes
from clwm_data.errors import ClwmError, InvalidInputError, UnavailableError
from clwm_data.families.base import Parameters
from clwm_data.functions import FOREIGN_ERRORS, find_function, in_short, source_sha256
from clwm_data.opening import open_store
from clwm_data.pages.numbers import plural
from clwm_data.paths import dataset_name
from clwm_data.store.arrays import TaskArrays, episode_return
from clwm_data.store.reader import Store
from clwm_data.store.root_writer import write_root

#: (observation [N, obs], action [N, act] (or numbers [N]), next_observation [N, obs], parameters) -> [N].
Reward = Callable[[NDArray[np.float32], NDArray[Any], NDArray[np.float32], Parameters], ArrayLike]


def relabel(
    source: Path | str | Store,
    target: Path | str,
    reward: Reward | str,
    *,
    on_progress: Callable[[int, int], object] | None = None,
) -> Store:
    """Make a store of the same transitions with new rewards.

    Everything else is kept, including seeds and states of episodes, except for a dense reward, which belongs
    to the old rewards. The new store records the function and the digest of the file that holds it.

    Args:
        source: the store; it is not changed.
        target: folder of the new store.
        reward: called once per task with the N transitions of all its episodes: ``observation`` [N, obs],
            ``action`` [N, act] (numbers [N] of discrete ones), ``next_observation`` [N, obs] and the task's
            parameters; returns [N] rewards. ``package.module:function``, or the function itself.
        on_progress: called with (tasks done, tasks in all).

    Raises:
        NotFoundError: no such store, or no such function.
        InvalidInputError: the function returns anything but N finite numbers.
        UnavailableError: the function cannot be called, or the disk is full.
        ConflictError: ``target`` exists already, or another process is making it.
        DamagedDataError: the store is damaged.
    """
    function = find_function(reward, "--reward") if isinstance(reward, str) else reward
    name = reward if isinstance(reward, str) else _name(function)
    store = open_store(source)
    if not len(store):
        raise InvalidInputError(f"{store.path}: holds no tasks")
    with building(target) as aside:
        for done, task in enumerate(store):
            if on_progress is not None:
                on_progress(done, len(store))
            arrays = task.load()
            values = _rewards(f"{name}: task {task.index}", function, arrays, task.parameters)
            changed = replace(
                arrays,
                reward=values,
                dense_reward=None,
                episode_return=np.array(
                    [episode_return(part) for part in np.split(values, arrays.episode_start[1:])]
                ),
            )
            write_episodes(aside, task, task.record.behaviours, changed, store.manifest)
        if on_progress is not None:
            on_progress(len(store), len(store))
        mixtures = {task.index: task.record.behaviours for task in store}
        sha256 = source_sha256(function)
        options = {"reward": name, **({} if sha256 is None else {"reward file sha256": sha256})}
        write_root(
            aside,
            description(dataset_name(target, store.name), store.manifest, mixtures),
            store.provenance,
            edited=edit("relabel", options, [store]),
        )
    return open_store(target)


def _rewards(where: str, function: Reward, arrays: TaskArrays, parameters: Parameters) -> NDArray[np.float32]:
    """[N] the rewards that the function returns for the transitions of a task."""
    row = arrays.observation_row()
    # Copies, so that a function that writes to its arguments does no harm.
    observation, following = arrays.observation[row], arrays.observation[row + 1]
    try:
        values = np.asarray(function(observation, arrays.stored_action.copy(), following, dict(parameters)))
    except ClwmError:
        raise
    except FOREIGN_ERRORS as error:
        raise UnavailableError(f"{where}: cannot be called: {in_short(error)}") from error
    if values.dtype.kind not in "fiub":
        raise InvalidInputError(f"{where}: gives {values.dtype}, not real numbers")
    if values.shape != arrays.reward.shape:
        raise InvalidInputError(
            f"{where}: gives an array of shape {list(values.shape)} for "
            f"{plural(arrays.transitions, 'transition')}"
        )
    with np.errstate(over="ignore"):
        rewards = values.astype(np.float32)
    if not np.isfinite(rewards).all():
        first = int(np.argmin(np.isfinite(rewards)))
        episode = int(np.searchsorted(arrays.episode_start, first, side="right")) - 1
        step = first - int(arrays.episode_start[episode])
        raise InvalidInputError(
            f"{where}: episode {episode}: step {step}: gives {values[first]}, expected finite numbers within "
            "float32's range"
        )
    return rewards


def _name(function: Any) -> str:
    return (
        f"{getattr(function, '__module__', '?')}:{getattr(function, '__qualname__', type(function).__name__)}"
    )
