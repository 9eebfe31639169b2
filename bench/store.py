"""The store beside other dataset formats, on the same data, all rounds interleaved.

Usage: python bench/store.py [--tasks 16] [--episodes 100] [--rounds 7]

Formats: the store (zarr-python's pipeline, and zarrs' where it is installed), plain .npy files, one torch
tensor per task of rows [s, a, r, s', terminated], Minari's HDF5 and Arrow. What is not installed is left out.
Times are of a warm page cache. Beside wall time stands the processor time of this process: where other work
shares the machine, wall times vary and processor times hardly do.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import zarr

from clwm_data.collect.plan import Segment
from clwm_data.collect.rollout import roll_out
from clwm_data.families import get_family
from clwm_data.manifest import BehaviourEntry, Manifest
from clwm_data.provenance import current_provenance
from clwm_data.store import Episode, TaskArrays, open_store
from clwm_data.store.writer import write_root, write_task
from clwm_train.config import BatchConfig, DataConfig
from clwm_train.data import load_task_data
from clwm_train.sampler import TaskBatchSampler

FAMILY = "cheetah-vel"
HORIZON, WINDOWS, TASKS = 5, 64, 16
EPISODES = 25  # of a segment


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
    """The store."""

    name = "clwm store"
    pipeline = "zarr.core.codec_pipeline.BatchedCodecPipeline"

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
        with zarr.config.set({"codec_pipeline.path": self.pipeline}):
            return {index: columns(task.load()) for index, task in open_store(self.path).tasks.items()}


class ZarrsFormat(StoreFormat):
    """The store, decoded by zarrs."""

    name = "clwm store, zarrs"
    pipeline = "zarrs.ZarrsCodecPipeline"


class VerifiedFormat(StoreFormat):
    """The store, every value compared with its digest."""

    name = "clwm store, verify=True"

    def read(self) -> dict[int, tuple[np.ndarray, ...]]:
        return {index: columns(task.load(verify=True)) for index, task in open_store(self.path).tasks.items()}


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
    """What training needs of a task."""
    return arrays.observation, arrays.action, arrays.reward, arrays.terminated


def timed(action: Callable[[], object]) -> tuple[float, float]:
    """Wall and processor seconds."""
    wall, processor = time.perf_counter(), time.process_time()
    action()
    return time.perf_counter() - wall, time.process_time() - processor


def interleaved(actions: dict[str, Callable[[], object]], rounds: int) -> dict[str, tuple[float, float]]:
    """Medians of wall and processor seconds; one round runs each action once."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in actions}
    for _ in range(rounds):
        for name, action in actions.items():
            times[name].append(timed(action))
    return {name: tuple(map(statistics.median, zip(*values, strict=True))) for name, values in times.items()}


def table(title: str, header: list[str], rows: list[list[str]]) -> None:
    print(f"\n### {title}\n\n| {' | '.join(header)} |\n|{'---|' * len(header)}")
    for row in rows:
        print(f"| {' | '.join(row)} |")


def size(path: Path) -> int:
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def bench_formats(folder: Path, data: dict[int, TaskArrays], rounds: int) -> None:
    formats = [StoreFormat(folder), NpyFormat(folder), TensorFormat(folder)]
    if importlib.util.find_spec("minari") is not None:
        for module, name in (("h5py", "hdf5"), ("pyarrow", "arrow")):
            if importlib.util.find_spec(module) is not None:
                formats.append(MinariFormat(folder, name))
    payload = sum(array.nbytes for arrays in data.values() for array in arrays.named().values())
    transitions = sum(arrays.transitions for arrays in data.values())

    def rewrite(chosen: object) -> None:
        shutil.rmtree(chosen.path, ignore_errors=True)
        chosen.write(data)

    written = interleaved({f.name: (lambda f=f: rewrite(f)) for f in formats}, max(3, rounds // 2))
    table(
        f"Writing {payload / 1e6:.0f} MB, {transitions:,} transitions",
        ["format", "wall s", "processor s", "MB/s (wall)", "bytes per transition"],
        [
            [f.name, f"{w:.3f}", f"{p:.3f}", f"{payload / w / 1e6:.0f}", f"{size(f.path) / transitions:.1f}"]
            for f in formats
            for w, p in [written[f.name]]
        ],
    )
    readers = [*formats, VerifiedFormat(folder)]
    if importlib.util.find_spec("zarrs") is not None:
        readers.insert(1, ZarrsFormat(folder))
    read = interleaved({f.name: f.read for f in readers}, rounds)
    base = read[".npy"]
    table(
        "Opening and decoding all tasks to contiguous arrays",
        ["format", "wall s", "processor s", "MB/s (wall)", "speed beside .npy (wall)", "(processor)"],
        [
            [
                name,
                f"{w:.4f}",
                f"{p:.4f}",
                f"{payload / w / 1e6:.0f}",
                f"{base[0] / w:.2f}",
                f"{base[1] / p:.2f}",
            ]
            for name, (w, p) in read.items()
        ],
    )


def bench_windows(folder: Path, data: dict[int, TaskArrays], rounds: int) -> None:
    """A meta-batch: 16 tasks x 64 windows of 5 steps."""
    rng = np.random.default_rng(0)
    store = open_store(folder / "bench.zarr")
    loaded = load_task_data(store.tasks, DataConfig())
    config = BatchConfig(tasks=TASKS, windows=WINDOWS, horizon=HORIZON, context=1)
    sampler = TaskBatchSampler(loaded, config, [0], next_observation=False)
    observation = loaded.observation.numpy()
    action, reward, terminated = (x.numpy() for x in (loaded.action, loaded.reward, loaded.terminated))
    start, length = loaded.episode_start.numpy(), loaded.episode_length.numpy()
    steps = np.arange(HORIZON + 1)

    def fancy() -> None:
        episode = rng.integers(len(start), size=TASKS * WINDOWS)
        first = start[episode] + rng.integers(length[episode] - HORIZON + 1)
        row = first[:, None] + steps
        _ = (
            observation[row + episode[:, None]],
            action[row[:, :-1]],
            reward[row[:, :-1]],
            terminated[row[:, :-1]],
        )

    def minari(datasets: list[object]) -> None:
        for dataset in (datasets[i] for i in rng.integers(len(datasets), size=TASKS)):
            for episode in dataset.iterate_episodes(
                rng.integers(dataset.total_episodes, size=WINDOWS).tolist()
            ):
                first = int(rng.integers(len(episode.rewards) - HORIZON + 1))
                window = slice(first, first + HORIZON)
                _ = episode.observations[first : first + HORIZON + 1], episode.actions[window]
                _ = episode.rewards[window], episode.terminations[window]

    batches = 20
    counter = iter(range(10**9))
    actions: dict[str, Callable[[], object]] = {
        "NumPy fancy indexing in memory": lambda: [fancy() for _ in range(batches)],
        "clwm sampler": lambda: [sampler.batch(next(counter)) for _ in range(batches)],
    }
    per = dict.fromkeys(actions, batches)
    for name in ("hdf5", "arrow"):
        path = folder / f"minari-{name}"
        if path.exists():
            datasets = list(MinariFormat(folder, name).open().values())
            actions[f"Minari, {name}"] = lambda datasets=datasets: minari(datasets)
            per[f"Minari, {name}"] = 1
    times = interleaved(actions, rounds)
    mine = times["clwm sampler"][0] / batches
    table(
        f"A batch of {TASKS} tasks x {WINDOWS} windows of {HORIZON} steps",
        ["way", "wall ms", "processor ms", "times the sampler's wall time"],
        [
            [name, f"{w / per[name] * 1e3:.2f}", f"{p / per[name] * 1e3:.2f}", f"{w / per[name] / mine:.2f}"]
            for name, (w, p) in times.items()
        ],
    )


def bench_collection(rounds: int) -> None:
    """Everything that collection does for a segment, beside stepping the same environments alone."""
    family = get_family(FAMILY)
    entry = BehaviourEntry(policy="random", episodes=32)
    manifest = Manifest(name="bench", family=FAMILY, tasks=[10], behaviours=[entry])
    env = family.make_vec_env([10] * EPISODES)
    actions = (
        np.random.default_rng(0)
        .uniform(-1, 1, (family.horizon, EPISODES, family.action_size))
        .astype(np.float32)
    )
    segment = Segment(task=10, behaviour=0, first_episode=0, episodes=EPISODES)

    def bare() -> None:
        env.reset(seed=0)
        for action in actions:
            env.step(action)

    def whole() -> None:
        with tempfile.TemporaryDirectory() as folder:
            from clwm_data.collect.staging import save_segment

            save_segment(Path(folder), segment, roll_out(manifest, segment))

    whole()  # builds its models
    times = interleaved({"bare step loop": bare, "collection of a segment": whole}, rounds)
    base = times["bare step loop"]
    table(
        f"Collecting {EPISODES} episodes of {FAMILY} ({EPISODES * family.horizon:,} transitions)",
        ["", "wall s", "processor s", "beside bare (wall)", "(processor)"],
        [
            [name, f"{w:.3f}", f"{p:.3f}", f"{w / base[0]:.3f}", f"{p / base[1]:.3f}"]
            for name, (w, p) in times.items()
        ],
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", type=int, default=16)
    parser.add_argument("--episodes", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    torch.set_num_threads(1)
    missing = [m for m in ("minari", "h5py", "pyarrow", "zarrs") if importlib.util.find_spec(m) is None]
    load = os.getloadavg()[0]
    print(f"load {load:.1f} on {os.cpu_count()} cores; not installed: {', '.join(missing) or 'none'}")
    data = {index: synthetic(options.episodes, index) for index in range(options.tasks)}
    with tempfile.TemporaryDirectory() as folder:
        bench_formats(Path(folder), data, options.rounds)
        bench_windows(Path(folder), data, options.rounds)
    bench_collection(options.rounds)


if __name__ == "__main__":
    main()
