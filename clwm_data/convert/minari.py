"""From and to Minari (extra ``minari``): one Minari dataset per task.

What Minari has no place for (behaviours, simulator states, task parameters, the manifest) travels in the
metadata of its episodes and of its dataset, so that a store comes back as it was, digest for digest.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from clwm_data.convert.target import write_converted
from clwm_data.edit.building import building
from clwm_data.errors import ClwmError
from clwm_data.extras import require
from clwm_data.families import Task, family_names, get_family
from clwm_data.opening import open_store
from clwm_data.store.arrays import Episode, TaskArrays
from clwm_data.store.digest import array_sha256, file_sha256, json_sha256
from clwm_data.store.format import StoreRecord, TaskRecord
from clwm_data.store.reader import Store, StoredTask
from clwm_data.store.writer import write_root, write_task

#: Key of Minari's metadata that holds what only clwm knows.
KEY = "clwm"


def to_minari(source: Path | str, target: Path | str) -> list[str]:
    """Write every task of a store as a Minari dataset, in Minari's HDF5 format.

    Args:
        source: the store.
        target: folder for the datasets, as Minari's MINARI_DATASETS_PATH; ``<name>/task-0007-v0`` below it.

    Returns:
        the ids of the datasets.

    Raises:
        ClwmError: no such store, or a dataset is there already.
        MissingExtraError: minari is not installed.
    """
    _minari("converting to Minari")
    store = open_store(source)
    folder = Path(target).resolve() / store.name  # Minari stumbles over relative paths
    if folder.exists():
        raise ClwmError(f"{folder}: is there already: choose another folder, or remove it first")
    with building(folder) as aside:
        for task in store.tasks.values():
            _write_dataset(store, task, aside / f"task-{task.index:04d}-v0" / "data")
    return [f"{store.name}/task-{index:04d}-v0" for index in store.tasks]


def from_minari(
    source: Path | str, target: Path | str, family: str | None = None, tasks: Collection[int] | None = None
) -> Store:
    """Make a store of Minari datasets.

    Datasets that :func:`to_minari` wrote give the store that they came from. Of others, observations become
    float32, actions are scaled from the bounds of their space to [-1, 1], and the datasets below ``source``
    are the tasks ``tasks`` of ``family``, in the order of their names.

    Args:
        source: folder of one Minari dataset, or of several.
        target: folder of the store.
        family: task family; one that is not known here is possible: its tasks have no parameters then.
        tasks: task of each dataset; 0, 1, 2, ... by default.

    Raises:
        ClwmError: no datasets there, spaces that are not vectors, or a family is needed and not given.
        MissingExtraError: minari is not installed.
    """
    _minari("converting from Minari")
    folders = sorted(file.parent for file in Path(source).rglob("metadata.json") if _is_dataset(file))
    if not folders:
        raise ClwmError(f"{source}: holds no Minari dataset (a folder data with metadata.json)")
    known = [_raw_metadata(folder).get(KEY) for folder in folders]
    if all(isinstance(about, dict) for about in known) and family is None and tasks is None:
        return _restore(folders, [about for about in known if isinstance(about, dict)], Path(target))
    if family is None:
        raise ClwmError(f"{source}: name the task family of these datasets with --family")
    return _convert(folders, Path(source), Path(target), family, tasks)


def _write_dataset(store: Store, task: StoredTask, folder: Path) -> None:
    import gymnasium
    from minari.data_collector.episode_buffer import EpisodeBuffer
    from minari.dataset.minari_storage import MinariStorage

    arrays = task.load(verify=True)
    folder.mkdir(parents=True)
    spec = None
    if store.family in family_names():
        spec = gymnasium.spec(f"clwm/{store.family}-v0")
        spec.kwargs["task"] = task.index
    box = gymnasium.spaces.Box
    storage = MinariStorage.new(
        folder,
        observation_space=box(-np.inf, np.inf, (arrays.observation.shape[1],), np.float32),
        action_space=box(-1.0, 1.0, (arrays.action.shape[1],), np.float32),
        env_spec=spec,
    )
    storage.update_episodes(
        EpisodeBuffer(
            seed=None if episode.seed is None else episode.seed,
            observations=episode.observation,
            actions=episode.action,
            rewards=episode.reward,
            terminations=episode.terminated,
            truncations=episode.truncated,
            # Minari's infos have an entry for the reset, too.
            infos=None
            if episode.success is None
            else {"success": np.concatenate([[False], episode.success])},
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


def _own_metadata(episode: Episode) -> dict[str, Any]:
    state = episode.initial_state
    return {"behaviour": episode.behaviour, **({} if state is None else {"initial_state": state})}


def _restore(folders: list[Path], known: list[dict[str, Any]], target: Path) -> Store:
    """Make the store again that Minari datasets were written from."""
    try:
        record = StoreRecord.model_validate(known[0]["store"])
        tasks = {about["task"]["index"]: TaskRecord.model_validate(about["task"]) for about in known}
    except (ValidationError, KeyError, TypeError) as error:
        raise ClwmError(
            f"{folders[0]}: its metadata under {KEY!r} is damaged: convert with --family"
        ) from error
    with building(target) as aside:
        aside.mkdir(exist_ok=True)
        for folder, (index, task) in zip(folders, tasks.items(), strict=True):
            arrays = TaskArrays.from_episodes(list(_episodes(folder, scale=False)))
            if {name: array_sha256(array) for name, array in arrays.named().items()} != task.arrays:
                raise ClwmError(
                    f"{folder.parent}: its data is not what was written there: convert with --family and "
                    "--tasks as any other Minari dataset"
                )
            described = Task(index, task.split, {k: _parameter(v) for k, v in task.parameters.items()})
            write_task(aside, described, task.behaviours, arrays, record.manifest.storage)
        write_root(aside, record.manifest, record.provenance, record.origin, record.edited)
    return open_store(target)


def _convert(
    folders: list[Path], source: Path, target: Path, family: str, tasks: Collection[int] | None
) -> Store:
    indices = list(range(len(folders)) if tasks is None else tasks)
    if len(indices) != len(folders):
        raise ClwmError(f"{source}: holds {len(folders)} datasets, {len(indices)} tasks were named")
    about = [_raw_metadata(folder) for folder in folders]

    def converted() -> Iterator[tuple[Task, str, TaskArrays]]:
        for index, folder, metadata in zip(indices, folders, about, strict=True):
            task = get_family(family).task(index) if family in family_names() else Task(index, "train", {})
            policy = str(metadata.get("algorithm_name") or "unknown")
            yield task, policy, TaskArrays.from_episodes(list(_episodes(folder, scale=True)))

    digest = json_sha256(
        {
            str(index): {file.name: file_sha256(file) for file in sorted(folder.rglob("*")) if file.is_file()}
            for index, folder in zip(indices, folders, strict=True)
        }
    )
    names = [
        str(metadata.get("dataset_id", folder.name)) for folder, metadata in zip(folders, about, strict=True)
    ]
    authors = sorted({str(author) for metadata in about for author in metadata.get("author", [])})
    return write_converted(
        target,
        family,
        converted(),
        ", ".join(names),
        digest,
        {"from": "minari", "values": "float32, actions scaled to [-1, 1]"},
        authors=authors,
        text="\n".join(dict.fromkeys(str(m["description"]) for m in about if m.get("description"))),
    )


def _episodes(folder: Path, *, scale: bool) -> Iterator[Episode]:
    """The episodes of a Minari dataset; ``scale``: actions from the bounds of their space to [-1, 1]."""
    from gymnasium.spaces import Box
    from minari.dataset.minari_storage import MinariStorage

    if not {"observation_space", "action_space"} <= _raw_metadata(folder).keys():
        # Minari would ask an environment for them, whose code the metadata names.
        raise ClwmError(f"{folder}/metadata.json: names no spaces: it cannot be converted")
    storage = MinariStorage.read(folder)
    space = storage.action_space
    for name, found in (("observations", storage.observation_space), ("actions", space)):
        if not isinstance(found, Box) or len(found.shape) != 1:
            raise ClwmError(f"{folder}: its {name} are not vectors but {found}: they cannot be converted")
    low, high = np.asarray(space.low, np.float64), np.asarray(space.high, np.float64)
    if scale and not (np.isfinite(low).all() and np.isfinite(high).all()):
        raise ClwmError(f"{folder}: its actions have no bounds: they cannot be scaled to [-1, 1]")
    numbers = range(storage.total_episodes)
    for found, metadata in zip(
        storage.get_episodes(numbers), storage.get_episode_metadata(numbers), strict=True
    ):
        action: NDArray[Any] = np.asarray(found["actions"])
        if scale:
            action = np.clip((action.astype(np.float64) - low) / (high - low) * 2.0 - 1.0, -1.0, 1.0)
        infos = found.get("infos") or {}
        success = np.asarray(infos["success"], np.bool_)[1:] if "success" in infos else None
        terminated = np.asarray(found["terminations"], np.bool_)
        state = metadata.get("initial_state")
        seed = metadata.get("seed")
        yield Episode(
            observation=np.asarray(found["observations"], np.float32),
            action=action.astype(np.float32),
            reward=np.asarray(found["rewards"], np.float32),
            terminated=terminated,
            truncated=np.asarray(found["truncations"], np.bool_) & ~terminated,
            success=success,
            # Seeds and states of another program's reset would not give the same episode in ours.
            initial_state=None if scale or state is None else np.asarray(state, np.float64),
            seed=None if scale or seed is None else int(seed),
            behaviour=0 if scale else int(metadata.get("behaviour", 0)),
        )


def _is_dataset(file: Path) -> bool:
    metadata = _raw_metadata(file.parent)
    return "data_format" in metadata and "total_episodes" in metadata


def _raw_metadata(folder: Path) -> dict[str, Any]:
    try:
        metadata = json.loads((folder / "metadata.json").read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise ClwmError(f"{folder}/metadata.json: cannot be read: {error}") from error
    return metadata if isinstance(metadata, dict) else {}


def _parameter(value: float | list[float]) -> float | tuple[float, ...]:
    return tuple(value) if isinstance(value, list) else value


def _minari(purpose: str) -> None:
    require("minari", "minari", purpose)
    require("h5py", "minari", purpose)
