"""The store beside other dataset formats, on the same data; windows, memory, collection.

Usage: OMP_NUM_THREADS=1 python bench/store.py [--tasks 16] [--episodes 100] [--rounds 7] [--only SECTION]...

Contestants take turns; medians and ratios are printed as Markdown. Formats that are not installed are left
out, and named. Times are of a warm page cache, except where the page says otherwise. Beside wall time stands
the processor time of this process: where other work shares the machine, wall times vary and processor times
hardly do.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from formats import (
    COLUMNS,
    FAMILY,
    LanceFormat,
    MinariFormat,
    StoreFormat,
    installed,
    readers,
    synthetic,
    writers,
)
from measure import interleaved, table

from clwm_data.cache import cache_folder
from clwm_data.collection.collector import collect
from clwm_data.collection.plan import Segment
from clwm_data.collection.rollout import roll_out
from clwm_data.collection.staging import save_segment
from clwm_data.families import get_family
from clwm_data.manifest import BehaviourEntry, Manifest
from clwm_data.opening import open_store
from clwm_data.store import TaskArrays
from clwm_train.config import BatchConfig, DataConfig
from clwm_train.data.mapped import map_task_data
from clwm_train.data.sampler import TaskBatchSampler
from clwm_train.data.task_data import TaskData, load_task_data

HORIZON, WINDOWS, TASKS = 5, 64, 16
BATCHES = 20
#: What a process needs besides the data, in bytes.
LEAST_LIMIT = 64 << 20
EPISODES = 25  # of a segment


def size(path: Path) -> int:
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def bench_write(folder: Path, data: dict[int, TaskArrays], rounds: int) -> None:
    payload = sum(array.nbytes for arrays in data.values() for array in arrays.named().values())
    transitions = sum(arrays.transitions for arrays in data.values())
    formats = writers(folder)

    def rewrite(chosen: Any) -> None:
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


def bench_read(folder: Path, data: dict[int, TaskArrays], rounds: int) -> None:
    payload = sum(array.nbytes for arrays in data.values() for array in arrays.named().values())
    read = interleaved({f.name: f.read for f in readers(folder)}, rounds)
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


def sampler_of(data: TaskData) -> Callable[[], object]:
    """Draws batches of 16 tasks x 64 windows of 5 steps, and one context transition of each task."""
    config = BatchConfig(tasks=TASKS, windows=WINDOWS, horizon=HORIZON, context=1)
    sampler = TaskBatchSampler(data, config, [0], next_observation=False)
    counter = iter(range(10**9))
    return lambda: [sampler.batch(next(counter)) for _ in range(BATCHES)]


def fancy_of(data: TaskData) -> Callable[[], object]:
    """The same windows by NumPy's fancy indexing on arrays in memory."""
    rng = np.random.default_rng(0)
    observation, action = data.observation.numpy(), data.action.numpy()
    reward, terminated = data.reward.numpy(), data.terminated.numpy()
    start, length = data.episode_start.numpy(), data.episode_length.numpy()
    steps = np.arange(HORIZON + 1)

    def batch() -> None:
        episode = rng.integers(len(start), size=TASKS * WINDOWS)
        first = start[episode] + rng.integers(length[episode] - HORIZON + 1)
        row = first[:, None] + steps
        transition = row[:, :-1]
        _ = (
            observation[row + episode[:, None]],
            action[transition],
            reward[transition],
            terminated[transition],
        )

    return lambda: [batch() for _ in range(BATCHES)]


def minari_of(format: MinariFormat) -> Callable[[], object]:
    """One batch; an episode is read for each window."""
    datasets = list(format.open().values())
    rng = np.random.default_rng(0)

    def batch() -> None:
        for dataset in (datasets[i] for i in rng.integers(len(datasets), size=TASKS)):
            chosen = rng.integers(dataset.total_episodes, size=WINDOWS).tolist()
            for episode in dataset.iterate_episodes(chosen):
                first = int(rng.integers(len(episode.rewards) - HORIZON + 1))
                window = slice(first, first + HORIZON)
                _ = episode.observations[first : first + HORIZON + 1], episode.actions[window]
                _ = episode.rewards[window], episode.terminations[window]

    return batch


def lance_of(format: LanceFormat) -> Callable[[], object]:
    """One batch, by the reader's own batched access."""
    datasets = list(format.open(steps=HORIZON + 1).values())
    rng = np.random.default_rng(0)

    def batch() -> None:
        for dataset in (datasets[i] for i in rng.integers(len(datasets), size=TASKS)):
            dataset.__getitems__(rng.integers(len(dataset), size=WINDOWS).tolist())

    return batch


def bench_windows(folder: Path, data: dict[int, TaskArrays], rounds: int) -> None:
    loaded = load_task_data(open_store(folder / "bench.zarr").tasks, DataConfig())
    actions = {"clwm sampler": sampler_of(loaded), "NumPy fancy indexing in memory": fancy_of(loaded)}
    batches = dict.fromkeys(actions, BATCHES)
    for format in writers(folder):
        if isinstance(format, MinariFormat):
            actions[format.name] = minari_of(format)
        elif isinstance(format, LanceFormat):
            actions[format.name] = lance_of(format)
    times = interleaved(actions, rounds)
    per = {name: (w / batches.get(name, 1), p / batches.get(name, 1)) for name, (w, p) in times.items()}
    mine = per["clwm sampler"][0]
    table(
        f"A batch of {TASKS} tasks x {WINDOWS} windows of {HORIZON} steps",
        ["way", "wall ms", "processor ms", "times the sampler's wall time"],
        [[name, f"{w * 1e3:.2f}", f"{p * 1e3:.2f}", f"{w / mine:.2f}"] for name, (w, p) in per.items()],
    )


def bench_memory(folder: Path, megabytes: int, rounds: int) -> None:
    """The sampler on mapped files; the process that maps may hold a quarter of the data (RLIMIT_DATA)."""
    os.environ["CLWM_CACHE"] = str(folder / "cache")
    large = StoreFormat(folder / "large")
    large.path.parent.mkdir()
    part = synthetic(1, 0)
    bytes_ = sum(getattr(part, name).nbytes for name in COLUMNS)
    large.write({index: synthetic(megabytes * 10**6 // bytes_ // TASKS, index) for index in range(TASKS)})
    store = open_store(large.path)
    loaded = load_task_data(store.tasks, DataConfig())
    held = sum(x.nbytes for x in (loaded.observation, loaded.action, loaded.reward, loaded.terminated))
    limit = max(held // 4, LEAST_LIMIT)
    map_task_data(store, DataConfig())
    in_memory = sampler_of(loaded)
    command = [sys.executable, __file__, "--mapped", str(store.path), "--limit", str(limit)]
    times: dict[str, list[float]] = {"in memory": [], "mapped, warm": [], "mapped, first batches": []}
    for _ in range(max(3, rounds // 2)):
        since = time.perf_counter()
        in_memory()
        times["in memory"].append((time.perf_counter() - since) / BATCHES)
        answer = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
        times["mapped, warm"].append(answer["warm"])
        times["mapped, first batches"].append(answer["cold"])
    medians = {name: statistics.median(values) for name, values in times.items()}
    table(
        f"Batches of {held / 1e6:.0f} MB of data by a process that may hold {limit / 1e6:.0f} MB",
        ["data", "wall ms", "rate beside memory"],
        [[name, f"{w * 1e3:.2f}", f"{medians['in memory'] / w:.2f}"] for name, w in medians.items()],
    )


def mapped_child(store: Path, limit: int) -> None:
    """In a process of its own: seconds per batch of mapped data, cold and warm, as JSON."""
    for file in cache_folder("mapped").glob("*/*.npy"):  # out of the page cache
        with file.open("rb") as stream:
            os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    status = Path("/proc/self/status").read_text()
    used = 1024 * next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmData"))
    resource.setrlimit(resource.RLIMIT_DATA, (used + limit, used + limit))
    data = map_task_data(open_store(store), DataConfig())
    draw = sampler_of(data)
    seconds = []
    for _ in range(5):
        since = time.perf_counter()
        draw()
        seconds.append((time.perf_counter() - since) / BATCHES)
        if len(seconds) == 1:
            for array in (data.observation, data.action, data.reward, data.terminated):
                array.numpy().max()  # every page once
    print(json.dumps({"cold": seconds[0], "warm": statistics.median(seconds[1:])}))


def bench_collection(rounds: int) -> None:
    """Everything that collection does for a segment, beside stepping the same environments alone."""
    family = get_family(FAMILY)
    entry = BehaviourEntry(policy="random", episodes=EPISODES)
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
            save_segment(Path(folder), segment, roll_out(manifest, segment))

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


def bench_workers(folder: Path, episodes: int, rounds: int) -> None:
    """Whole collections; starting the workers (a second or two of imports each) is part of it."""
    entry = BehaviourEntry(policy="random", episodes=episodes)
    manifest = Manifest(name="bench", family=FAMILY, tasks=list(range(16)), behaviours=[entry])
    transitions = 16 * episodes * get_family(FAMILY).horizon
    cores = len(os.sched_getaffinity(0))
    counts = sorted({1, *(2**n for n in range(1, 8) if 2**n <= cores), cores})

    def run(**options: Any) -> Callable[[], object]:
        def action() -> None:
            shutil.rmtree(folder / "collected.zarr", ignore_errors=True)
            collect(manifest, folder / "collected.zarr", **options)

        return action

    actions = {f"--workers {n}": run(workers=n) for n in counts}
    if installed("ray"):
        actions[f"--engine ray, {cores} CPUs"] = run(engine="ray")
    times = interleaved(actions, max(3, rounds // 2))
    base = times["--workers 1"][0]
    table(
        f"Collecting {transitions:,} transitions of {FAMILY} on {cores} cores",
        ["", "wall s", "transitions/s", "times one worker"],
        [[name, f"{w:.2f}", f"{transitions / w:,.0f}", f"{base / w:.2f}"] for name, (w, _) in times.items()],
    )


SECTIONS = ("collection", "workers", "memory", "write", "read", "windows")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", type=int, default=16)
    parser.add_argument("--episodes", type=int, default=100, help="of each task")
    parser.add_argument("--collected", type=int, default=200, help="episodes of each task, for --workers")
    parser.add_argument("--megabytes", type=int, default=400, help="of data larger than memory")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", action="append", choices=SECTIONS)
    parser.add_argument("--mapped", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--limit", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.mapped is not None:
        mapped_child(options.mapped, options.limit)
        return
    optional = ("minari", "h5py", "pyarrow", "stable_worldmodel", "lancedb", "zarrs", "ray")
    missing = [module for module in optional if not installed(module)]
    print(
        f"Python {platform.python_version()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; ", end=""
    )
    print(f"not installed: {', '.join(missing) or 'none'}")
    chosen = options.only or SECTIONS
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # Before the formats: some of their libraries keep threads that slow what follows.
        if "collection" in chosen:
            bench_collection(options.rounds)
        if "workers" in chosen:
            bench_workers(folder, options.collected, options.rounds)
        if "memory" in chosen:
            bench_memory(folder, options.megabytes, options.rounds)
        if {"write", "read", "windows"} & set(chosen):
            data = {index: synthetic(options.episodes, index) for index in range(options.tasks)}
            bench_write(folder, data, options.rounds)
            if "read" in chosen:
                bench_read(folder, data, options.rounds)
            if "windows" in chosen:
                bench_windows(folder, data, options.rounds)


if __name__ == "__main__":
    main()
