"""The contestants of bench/store.py: dataset formats that write and read the same data."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
import zarr

from clwm_data.families import get_family
from clwm_data.manifest import BehaviourEntry, Manifest
from clwm_data.opening import open_store
from clwm_data.store import Episode, TaskArrays
from clwm_data.store.provenance import current_provenance
from clwm_data.store.root_writer import write_root
from clwm_data.store.writer import write_task

FAMILY = "cheetah-vel"
#: What training needs of a task.
COLUMNS = ("observation", "action", "reward", "terminated")


def synthetic(episodes: int, seed: int) -> TaskArrays:
    """Episodes of the family's sizes and lengths; values as incompressible as a simulator's."""
    family = get_family(FAMILY)
    rng = np.random.default_rng(seed)
    length = family.horizon
    return TaskArrays.from_episodes(
        [
            Episode(
                observation=rng.normal(size=(length + 1, family.observation_size)).astype(np.float32),
                action=rng.uniform(-1, 1, (length, family.action_size)).astype(np.float32),
                reward=rng.normal(size=length).astype(np.float32),
                terminated=np.zeros(length, np.bool_),
                truncated=np.arange(length) == length - 1,
                success=None,
                initial_state=rng.normal(size=40),
                seed=number,
                behaviour=0,
            )
            for number in range(episodes)
        ]
    )


class StoreFormat:
    """The store, its digests not compared."""

    name = "clwm store, verify=False"

    def __init__(self, folder: Path) -> None:
        self.path = folder / "bench.zarr"

    def write(self, data: dict[int, TaskArrays]) -> None:
        entry = BehaviourEntry(policy="random", episodes=data[0].episodes)
        manifest = Manifest(name="bench", family=FAMILY, tasks=list(data), behaviours=[entry])
        self.path.mkdir()
        for index, arrays in data.items():
            task = replace(get_family(FAMILY).task(index), split="train")
            write_task(self.path, task, [entry], arrays, manifest.storage)
        write_root(self.path, manifest, current_provenance())

    def read(self) -> dict[int, tuple[np.ndarray, ...]]:
        return {
            index: columns(task.load(verify=False)) for index, task in open_store(self.path).tasks.items()
        }


class VerifiedFormat(StoreFormat):
    """The store, every value compared with its digest, as it is read by default."""

    name = "clwm store"

    def read(self) -> dict[int, tuple[np.ndarray, ...]]:
        return {index: columns(task.load()) for index, task in open_store(self.path).tasks.items()}


class ZarrFormat(StoreFormat):
    """The store, its arrays read by zarr-python, with one of its codec pipelines."""

    def __init__(self, folder: Path, name: str, pipeline: str) -> None:
        super().__init__(folder)
        self.name = name
        self._pipeline = pipeline

    def read(self) -> dict[int, tuple[np.ndarray, ...]]:
        result = {}
        with zarr.config.set({"codec_pipeline.path": self._pipeline}):
            for index, task in open_store(self.path).tasks.items():
                arrays = {name: np.asarray(task.array(name)[...]) for name in task.arrays}
                result[index] = tuple(arrays[name] for name in COLUMNS)
        return result


class NpyFormat:
    """One plain .npy file per array and task, as many bytes as the store's."""

    name = ".npy"

    def __init__(self, folder: Path) -> None:
        self.path = folder / "npy"

    def write(self, data: dict[int, TaskArrays]) -> None:
        for index, arrays in data.items():
            (self.path / str(index)).mkdir(parents=True)
            for name, array in arrays.named().items():
                np.save(self.path / str(index) / f"{name}.npy", array)

    def read(self) -> dict[int, tuple[np.ndarray, ...]]:
        tasks = sorted(self.path.iterdir(), key=lambda path: int(path.name))
        loaded = {int(task.name): {file.stem: np.load(file) for file in task.iterdir()} for task in tasks}
        return {index: columns(TaskArrays(success=None, **arrays)) for index, arrays in loaded.items()}


class TensorFormat:
    """One torch tensor per task: rows [s, a, r, s', terminated]."""

    name = ".pth tensors"

    def __init__(self, folder: Path) -> None:
        self.path = folder / "pth"

    def write(self, data: dict[int, TaskArrays]) -> None:
        self.path.mkdir()
        for index, arrays in data.items():
            row = arrays.observation_row()
            parts = [
                arrays.observation[row],
                arrays.action,
                arrays.reward[:, None],
                arrays.observation[row + 1],
                arrays.terminated[:, None],
            ]
            rows = np.hstack([part.astype(np.float32) for part in parts])
            torch.save(torch.from_numpy(rows), self.path / f"{index}.pth")

    def read(self) -> dict[int, tuple[np.ndarray, ...]]:
        obs, act = get_family(FAMILY).observation_size, get_family(FAMILY).action_size
        cuts = np.cumsum([obs, act, 1, obs])
        result = {}
        for file in sorted(self.path.iterdir(), key=lambda path: int(path.stem)):
            rows = torch.load(file, weights_only=True).numpy()
            result[int(file.stem)] = tuple(map(np.ascontiguousarray, np.split(rows, cuts, axis=1)))
        return result


class LanceFormat:
    """One table per task, by stable-worldmodel's writer and reader."""

    name = "stable-worldmodel, Lance"

    def __init__(self, folder: Path) -> None:
        self.path = folder / "lance"
        self.module = lance_module()

    def write(self, data: dict[int, TaskArrays]) -> None:
        for index, arrays in data.items():
            with self.module.LanceWriter(self.path / f"task{index}.lance", mode="error") as writer:
                writer.write_episodes(
                    {
                        # Rows of as many observations as actions: the last observation has no place.
                        "observation": list(episode.observation[:-1]),
                        "action": list(episode.action),
                        "reward": list(episode.reward[:, None]),
                        "terminated": list(episode.terminated[:, None].astype(np.float32)),
                    }
                    for episode in arrays
                )

    def open(self, steps: int = 1) -> dict[int, Any]:
        tasks = range(len(list(self.path.glob("*.lance"))))
        return {i: self.module.LanceDataset(self.path / f"task{i}.lance", num_steps=steps) for i in tasks}

    def read(self) -> dict[int, tuple[np.ndarray, ...]]:
        return {
            index: tuple(np.ascontiguousarray(dataset.get_col_data(name)) for name in COLUMNS)
            for index, dataset in self.open().items()
        }


@cache
def lance_module() -> Any:
    """stable-worldmodel's Lance format without the package around it, which needs torchvision, and more."""
    spec = importlib.util.find_spec("stable_worldmodel")
    for part in ("", "/data", "/data/formats"):
        package = ModuleType("stable_worldmodel" + part.replace("/", "."))
        package.__path__ = [spec.submodule_search_locations[0] + part]
        sys.modules[package.__name__] = package
    return importlib.import_module("stable_worldmodel.data.formats.lance")


class MinariFormat:
    """One Minari dataset per task."""

    def __init__(self, folder: Path, data_format: str) -> None:
        self.name = f"Minari, {data_format}"
        self.path = folder / f"minari-{data_format}"
        self._format = data_format

    def write(self, data: dict[int, TaskArrays]) -> None:
        from gymnasium.spaces import Box
        from minari.data_collector.episode_buffer import EpisodeBuffer
        from minari.dataset.minari_storage import MinariStorage

        for index, arrays in data.items():
            folder = self.path / f"task-{index}-v0" / "data"
            folder.mkdir(parents=True)
            storage = MinariStorage.new(
                folder,
                observation_space=Box(-np.inf, np.inf, arrays.observation.shape[1:], np.float32),
                action_space=Box(-1.0, 1.0, arrays.action.shape[1:], np.float32),
                data_format=self._format,
            )
            storage.update_episodes(
                EpisodeBuffer(
                    seed=episode.seed,
                    observations=episode.observation,
                    actions=episode.action,
                    rewards=episode.reward,
                    terminations=episode.terminated,
                    truncations=episode.truncated,
                )
                for episode in arrays
            )
            storage.update_metadata({"dataset_id": f"task-{index}-v0", "minari_version": "0.5.4"})

    def open(self) -> dict[int, object]:
        from minari import MinariDataset

        folders = sorted(self.path.iterdir(), key=lambda path: int(path.name.split("-")[1]))
        return {int(folder.name.split("-")[1]): MinariDataset(folder / "data") for folder in folders}

    def read(self) -> dict[int, tuple[np.ndarray, ...]]:
        result = {}
        for index, dataset in self.open().items():
            episodes = list(dataset)
            names = ("observations", "actions", "rewards", "terminations")
            result[index] = tuple(np.concatenate([getattr(e, name) for e in episodes]) for name in names)
        return result


def columns(arrays: TaskArrays) -> tuple[np.ndarray, ...]:
    return tuple(getattr(arrays, name) for name in COLUMNS)


def installed(*modules: str) -> bool:
    return all(module in sys.modules or importlib.util.find_spec(module) is not None for module in modules)


def writers(folder: Path) -> list[Any]:
    """All formats that can be written here."""
    formats: list[Any] = [StoreFormat(folder), NpyFormat(folder), TensorFormat(folder)]
    for module, name in (("h5py", "hdf5"), ("pyarrow", "arrow")):
        if installed("minari", module):
            formats.append(MinariFormat(folder, name))
    if installed("stable_worldmodel", "lancedb", "lance"):
        formats.append(LanceFormat(folder))
    return formats


def readers(folder: Path) -> list[Any]:
    """All of them, and the store in other ways."""
    store, *others = writers(folder)
    pipeline = "zarr.core.codec_pipeline.BatchedCodecPipeline"
    ways = [store, VerifiedFormat(folder), ZarrFormat(folder, "clwm store, by zarr-python", pipeline)]
    if installed("zarrs"):
        ways.append(ZarrFormat(folder, "clwm store, by zarrs", "zarrs.ZarrsCodecPipeline"))
    return [*ways, *others]
