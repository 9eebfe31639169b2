"""From and to Minari (extra ``minari``): one Minari dataset per task.

What Minari's format has no field for (behaviours, simulator states, task parameters, the manifest) is kept in
the metadata of episodes and datasets, so that a store is restored exactly, digest for digest.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from clwm_data.convert.minari_dataset import foreign_task, is_dataset, own_episodes, raw_metadata
from clwm_data.convert.source import (
    Source,
    digest_of,
    files_below,
    reading,
    task_indices,
)
from clwm_data.convert.tables import TaskTable
from clwm_data.convert.target import (
    Conversion,
    check_valid,
    converted_task,
    write_converted,
)
from clwm_data.edit.building import building
from clwm_data.errors import DamagedDataError, InvalidInputError, NotFoundError
from clwm_data.extras import require
from clwm_data.families import Task, is_family
from clwm_data.families.base import with_tuples
from clwm_data.families.declared.reading import is_family_file, load_family
from clwm_data.opening import open_store
from clwm_data.paths import target_path
from clwm_data.progress import ProgressCallback
from clwm_data.ranges import task_list
from clwm_data.store.arrays import Episode, TaskArrays
from clwm_data.store.digest import array_sha256
from clwm_data.store.format import StoreRecord, TaskRecord
from clwm_data.store.reader import Store
from clwm_data.store.root_writer import write_root
from clwm_data.store.stored_task import StoredTask
from clwm_data.store.writer import write_task

#: Key of Minari's metadata that holds clwm's own.
KEY = "clwm"
DATASET = "Minari dataset (a folder data with metadata.json)"


def to_minari(
    source: Path | str | Store, target: Path | str, *, on_progress: ProgressCallback | None = None
) -> list[str]:
    """Write every task of a store as a Minari dataset, in Minari's HDF5 format.

    Args:
        source: the store.
        target: folder for the datasets, as Minari's MINARI_DATASETS_PATH; ``<name>/task-0007-v0`` below it.
        on_progress: called after each task.

    Returns:
        the ids of the datasets.

    Raises:
        NotFoundError: no such store.
        ConflictError: a dataset is there already.
        DamagedDataError: the store is damaged.
        MissingExtraError: minari is not installed.
    """
    _minari("converting to Minari")
    store = open_store(source)
    folder = target_path(target) / store.name  # Minari mishandles relative paths
    with building(folder) as aside:
        for done, task in enumerate(store.tasks.values()):
            if on_progress is not None:
                on_progress(done, len(store.tasks))
            _write_dataset(store, task, aside / f"task-{task.index:04d}-v0" / "data")
        if on_progress is not None:
            on_progress(len(store.tasks), len(store.tasks))
    return [f"{store.name}/task-{index:04d}-v0" for index in store.tasks]


def from_minari(
    source: Path | str,
    target: Path | str,
    family: str | None = None,
    tasks: Collection[int] | None = None,
    *,
    table: TaskTable | None = None,
    action_bounds: Sequence[tuple[float, float]] = (),
    on_progress: ProgressCallback | None = None,
) -> Conversion:
    """Make a store of Minari datasets.

    Datasets that :func:`to_minari` wrote give the store that they came from, if no option is given. For
    others, observations are flattened as by :func:`gymnasium.spaces.flatten` and converted to float32,
    actions are scaled from the bounds of their space to [-1, 1], and the datasets below ``source`` are the
    tasks ``tasks`` of ``family``, in the natural order of their folders.

    Args:
        source: folder of one Minari dataset, or of several; links are followed.
        target: folder of the store.
        family: task family, which need not be known here.
        tasks: task of each dataset; 0, 1, 2, ... by default.
        table: splits and parameters of tasks of a family that is not known here.
        action_bounds: lowest and highest value of each action entry, or of all; by default the space's.
        on_progress: called after each task.

    Raises:
        NotFoundError: no datasets, or not as many as tasks.
        InvalidInputError: spaces that cannot be flattened, actions without bounds, an invalid episode, or a
            missing ``family``.
        DamagedDataError: a file cannot be read.
        ConflictError: ``target`` is there already.
        MissingExtraError: minari is not installed.
    """
    _minari("converting from Minari")
    source = Path(source)
    folders = [file.parent for file in files_below(source, {".json"}, DATASET) if is_dataset(file)]
    if not folders:
        raise NotFoundError(f"{source}: holds no {DATASET}")
    about = [raw_metadata(folder) for folder in folders]
    known = [metadata.get(KEY) for metadata in about]
    told = family, tasks, table, action_bounds or None
    of_a_store = all(isinstance(own, dict) for own in known)
    if of_a_store and not any(option is not None for option in told):
        return _restore(folders, [own for own in known if isinstance(own, dict)], target)
    if family is None:
        raise InvalidInputError(f"{source}: name the task family of these datasets with --family")
    names = [str(metadata.get("dataset_id", folder)) for folder, metadata in zip(folders, about, strict=True)]
    indices = task_indices(folders, tasks, source)
    files = {
        f"{index}/{file.relative_to(folder)}": file
        for index, folder in zip(indices, folders, strict=True)
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }
    foreign = Source(
        name=", ".join(names),
        tasks={
            index: foreign_task(folder, metadata, _success(family))
            for index, folder, metadata in zip(indices, folders, about, strict=True)
        },
        sha256=digest_of(files),
        options={"from": "minari", "values": "float32, actions scaled to [-1, 1]"},
        description=" ".join(dict.fromkeys(str(m["description"]) for m in about if m.get("description"))),
        authors=sorted({str(author) for metadata in about for author in _list(metadata.get("author"))}),
        remarks=[f"{source}: holds a store, which comes back as it was without options"]
        if of_a_store
        else [],
    )
    if action_bounds:
        foreign = foreign.with_action_bounds(action_bounds)
    return write_converted(foreign, target, family, table=table, on_progress=on_progress)


def _write_dataset(store: Store, task: StoredTask, folder: Path) -> None:
    import gymnasium
    from minari.data_collector.episode_buffer import EpisodeBuffer
    from minari.dataset.minari_storage import MinariStorage

    arrays = task.load()
    folder.mkdir(parents=True)
    spec = None
    if is_family(store.family):
        spec = copy.deepcopy(gymnasium.spec(f"clwm/{store.family}-v0"))  # it is the registered one
        spec.kwargs["task"] = task.index
    box = gymnasium.spaces.Box
    action_space: gymnasium.Space[Any] = box(-1.0, 1.0, (arrays.action.shape[1],), np.float32)
    if arrays.discrete:
        action_space = gymnasium.spaces.Discrete(arrays.action.shape[1])
    storage = MinariStorage.new(
        folder,
        observation_space=box(-np.inf, np.inf, (arrays.observation.shape[1],), np.float32),
        action_space=action_space,
        env_spec=spec,
    )
    storage.update_episodes(
        EpisodeBuffer(
            seed=episode.seed,
            observations=episode.observation,
            actions=episode.stored_action,
            rewards=episode.reward,
            terminations=episode.terminated,
            truncations=episode.truncated,
            infos=_infos(episode),
        )
        for episode in arrays
    )
    storage.update_episode_metadata([_own_metadata(episode) for episode in arrays])
    record = store.record.model_dump(mode="json")
    storage.update_metadata(
        {
            "dataset_id": f"{store.name}/{folder.parent.name}",
            "minari_version": require("minari", "minari", "converting").__version__,
            "algorithm_name": ", ".join(dict.fromkeys(entry.policy for entry in task.record.behaviours)),
            "author": set(store.manifest.authors),
            "description": store.manifest.description,
            KEY: {"store": record, "task": task.record.model_dump(mode="json")},
        }
    )


def _infos(episode: Episode) -> dict[str, Any] | None:
    """What Minari's infos hold, with one more entry than steps, for the reset."""
    steps = {"success": episode.success, "dense_reward": episode.dense_reward}
    infos = {
        name: np.concatenate([np.zeros(1, array.dtype), array])
        for name, array in steps.items()
        if array is not None
    }
    return infos or None


def _own_metadata(episode: Episode) -> dict[str, Any]:
    state = episode.initial_state
    return {"behaviour": episode.behaviour, **({} if state is None else {"initial_state": state})}


def _restore(folders: list[Path], known: list[dict[str, Any]], target: Path | str) -> Conversion:
    """Restore the store that Minari datasets were written from."""
    try:
        record = StoreRecord.model_validate(known[0]["store"])
        tasks = {own["task"]["index"]: TaskRecord.model_validate(own["task"]) for own in known}
    except (ValidationError, KeyError, TypeError) as error:
        raise DamagedDataError(
            f"{folders[0]}: its metadata under {KEY!r} is damaged: convert with --family"
        ) from error
    for folder, own in zip(folders, known, strict=True):
        if own.get("store") != known[0]["store"]:
            raise InvalidInputError(
                f"{folder.parent}: is of another store than {folders[0].parent}: convert one store at a time"
            )
    if len(tasks) != len(folders):
        raise InvalidInputError(
            f"{folders[0].parent.parent}: holds a task twice: convert one store at a time"
        )
    with building(target) as aside:
        for folder, (index, task) in zip(folders, tasks.items(), strict=True):
            with reading(folder):
                arrays = TaskArrays.from_episodes(list(own_episodes(folder, task.discrete_actions)))
            if {name: array_sha256(array) for name, array in arrays.named().items()} != task.arrays:
                raise DamagedDataError(
                    f"{folder.parent}: its data is not what was written there: convert with --family and "
                    "--tasks as any other Minari dataset"
                )
            described = Task(index, task.split, with_tuples(task.parameters))
            write_task(aside, described, task.behaviours, arrays, record.manifest.storage)
        write_root(aside, record.manifest, record.provenance, record.origin, record.edited)
        check_valid(aside, target, folders[0].parent.parent)
    store = open_store(target)
    names = {index: folder.parent.name for index, folder in zip(tasks, folders, strict=True)}
    whole = store.record.content_sha256 == record.content_sha256
    part = (
        f"{folders[0].parent.parent}: holds a part of the store that it was written from: {task_list(tasks)}"
    )
    return Conversion(
        store,
        [converted_task(names[index], task.record) for index, task in store.tasks.items()],
        remarks=[] if whole else [part],
    )


def _success(family: str) -> str:
    """Which of the infos says whether a step succeeded: what a file declares, or the usual one."""
    declared = load_family(family).declaration.success if is_family_file(family) else None
    return declared or "success"


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _minari(purpose: str) -> None:
    require("minari", "minari", purpose)
    require("h5py", "minari", purpose)
