"""One update of SPC's methods with few and with many train tasks, interleaved.

Usage: OMP_NUM_THREADS=1 python bench/many_tasks.py [--tasks 20 1000 4000] [--size small] [--rounds 15]

Processor time of a pair of updates (one with world model and context encoder, one without); ratios are those
of medians to the fewest tasks. A cost that grows with the number of tasks would show here.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch
from measure import interleaved, table
from synthetic import synthetic_task

from clwm_train.data.sampler import TaskBatchSampler
from clwm_train.data.task_data import load_task_data
from clwm_train.kernels.streams import RandomStreams
from clwm_train.methods.resolve import resolve
from clwm_train.model.agent import Agent
from clwm_train.training.allocator import keep_freed_memory
from clwm_train.training.learner import Learner

OBSERVATION, ACTION, EPISODES, LENGTH = 17, 6, 1, 20


def make_pair(method: str, size: str, tasks: int) -> Callable[[], object]:
    """Two updates, with the draws of their batches."""
    config = resolve(method, size, ["context.next_observation=false"])
    data = load_task_data(
        {index: synthetic_task(index, EPISODES, LENGTH, OBSERVATION, ACTION) for index in range(tasks)},
        config.data,
    )
    learner = Learner(config, Agent(config, [0], OBSERVATION, ACTION), range(tasks))
    sampler = TaskBatchSampler(data, config.batch, [0], next_observation=False)
    streams, steps = RandomStreams([0]), iter(range(10**9))

    def pair() -> None:
        for _ in range(2):
            step = next(steps)
            learner.update(sampler.batch(step), step, streams)

    return pair


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tasks", type=int, nargs="+", default=[20, 1000, 4000])
    parser.add_argument("--size", default="small")
    parser.add_argument("--methods", nargs="+", default=["spc", "dora-ln", "focal-ln"])
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    rows = []
    for method in options.methods:
        pairs = {str(count): make_pair(method, options.size, count) for count in options.tasks}
        seconds = {name: times[1] for name, times in interleaved(pairs, options.rounds).items()}
        least = seconds[str(options.tasks[0])]
        rows.append([method, *(f"{1e3 * s:.1f} ms ({s / least:.2f} x)" for s in seconds.values())])
    header = ["method", *(f"{count:,} train tasks" for count in options.tasks)]
    table(f"Two updates of size {options.size}, with their batches", header, rows)


if __name__ == "__main__":
    main()
