"""The draw of a training batch beside ``np.take`` of as many rows.

Usage: OMP_NUM_THREADS=1 python bench/sampling.py [--size paper] [--episodes 250] [--rounds 15] [--batches 64]

20 tasks of episodes of 200 steps in the shape of cheetah-vel. Processor time; contestants take turns. The
rows of ``np.take`` are drawn beforehand, other ones for every batch.
"""

from __future__ import annotations

import argparse
import itertools

import numpy as np
import torch
from measure import interleaved, table
from synthetic import synthetic_task

from clwm_train.data.sampler import TaskBatchSampler
from clwm_train.data.task_data import load_task_data
from clwm_train.methods.resolve import resolve
from clwm_train.training.allocator import keep_freed_memory

OBSERVATION, ACTION, TASKS, LENGTH = 20, 6, 20, 200


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--size", default="paper")
    parser.add_argument("--episodes", type=int, default=250, help="of each task")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--batches", type=int, default=64, help="of a round")
    options = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    config = resolve("spc", options.size)
    tasks = {i: synthetic_task(i, options.episodes, LENGTH, OBSERVATION, ACTION) for i in range(TASKS)}
    data = load_task_data(tasks, config.data)
    sampler, batch = TaskBatchSampler(data, config.batch, next_observation=False), config.batch
    observation, action, reward, terminated = (
        tensor.numpy() for tensor in (data.observation, data.action, data.reward, data.terminated)
    )
    rng, windows = np.random.default_rng(0), batch.tasks * batch.windows

    def rows(length: int) -> np.ndarray:
        first = rng.integers(0, len(action) - length, (windows, 1))
        return (first + np.arange(length)).ravel()

    draws = [
        (
            rows(batch.horizon + 1),
            rows(batch.horizon),
            rng.integers(0, len(action), batch.tasks * batch.context),
        )
        for _ in range(options.batches)
    ]

    def take() -> None:
        for frames, steps, context in draws:
            _ = observation.take(frames, 0), action.take(steps, 0), reward.take(steps), terminated.take(steps)
            _ = observation.take(context, 0), action.take(context, 0), reward.take(context)

    step = itertools.count()

    def sample() -> None:
        for _ in draws:
            sampler.batch(next(step))

    times = interleaved({"np.take": take, "sampler": sample}, options.rounds)
    least = times["np.take"][1]
    table(
        f"A batch of size {options.size}, {len(action):,} transitions",
        ["", "processor ms", "beside np.take"],
        [[name, f"{1e3 * p / len(draws):.3f}", f"{p / least:.2f} x"] for name, (_, p) in times.items()],
    )


if __name__ == "__main__":
    main()
