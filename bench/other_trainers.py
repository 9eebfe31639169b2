"""Transitions per second that other people's training code gets from a store, beside the sampler's.

Every contestant draws the same amount: 256 windows of 8 steps, or as many single transitions. Processor time
is of this process; that of a ``DataLoader``'s workers is not in it, so for these the wall time counts.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measure import interleaved, table
from torch.utils.data import DataLoader

from clwm_data.collection.collector import collect
from clwm_data.manifest import load_manifest
from clwm_data.store import Store
from clwm_train import BatchConfig, TaskBatchSampler, load_task_data

WINDOWS, HORIZON = 256, 8
TRANSITIONS = WINDOWS * HORIZON


def contestants(store: Store, workers: int) -> dict[str, Callable[[], object]]:
    """What draws a batch, by name."""
    config = BatchConfig(tasks=16, windows=WINDOWS // 16, horizon=HORIZON, context=1)
    sampler = TaskBatchSampler(load_task_data(store), config)
    steps = iter(range(10**9))
    windows = store.torch_dataset(horizon=HORIZON, split="train")
    transitions = store.torch_dataset(split="train")
    arrays = store.to_arrays(split="train")
    generator = np.random.default_rng(0)

    def of_arrays() -> Any:
        rows = generator.integers(len(arrays["reward"]), size=TRANSITIONS)
        return {name: array[rows] for name, array in arrays.items()}

    found: dict[str, Callable[[], object]] = {
        "TaskBatchSampler": lambda: sampler.batch(next(steps)),
        "dict of NumPy arrays, indexed (JAX)": of_arrays,
        "torch_dataset, windows, DataLoader": _loader(windows, WINDOWS, 0),
        "torch_dataset, transitions, DataLoader": _loader(transitions, TRANSITIONS, 0),
        f"torch_dataset, windows, DataLoader, {workers} workers": _loader(windows, WINDOWS, workers),
    }
    if find_spec("tensordict") is not None:
        everything = store.to_tensordict(split="train")
        found["TensorDict, indexed"] = lambda: everything[torch.randint(len(everything), (TRANSITIONS,))]
    return found


def _loader(dataset: Any, size: int, workers: int) -> Callable[[], object]:
    options: dict[str, Any] = (
        {"persistent_workers": True, "multiprocessing_context": "fork"} if workers else {}
    )
    draws = torch.utils.data.RandomSampler(dataset, replacement=True, num_samples=10**9)
    batches = iter(DataLoader(dataset, batch_size=size, sampler=draws, num_workers=workers, **options))
    return lambda: next(batches)


def main() -> None:
    """Collect a small store, and measure."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        store = collect(load_manifest("point-robot"), Path(folder) / "p.zarr", workers=1)
        times = interleaved(contestants(store, options.workers), options.rounds)
        rows = [
            (name, f"{TRANSITIONS / wall / 1e3:,.0f}", f"{TRANSITIONS / cpu / 1e3:,.0f}")
            for name, (wall, cpu) in times.items()
        ]
        table(
            f"thousand transitions per second: {len(store)} tasks of point-robot",
            ("", "wall", "processor"),
            rows,
        )


if __name__ == "__main__":
    main()
