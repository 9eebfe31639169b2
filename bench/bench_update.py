"""One update of SPC: the package's beside the straightforward one of bench/reference.py, interleaved.

Usage: OMP_NUM_THREADS=1 python bench/bench_update.py [--sizes paper small tiny] [--compile] [--seeds 6]

Both learn from 20 tasks of 5 episodes of 200 steps (17 observations, 6 actions; the values do not matter to
the speed). Rows: a world-model step (which includes the policy step), a policy-only step, their mean (they
alternate), and the draw of a batch. A ratio is the median of the ratios of neighbouring rounds. On one thread
the time is the thread's own processor time, which depends little on what else the machine does; otherwise
wall time. ``--compile`` times every precision with compiled graphs as well, ``--seeds N`` N seeds together
(ratios per seed); ``--device cuda`` runs on a GPU.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
from reference import Reference, RowSampler, copy_weights
from synthetic import synthetic_task

from clwm_train.config import TrainConfig
from clwm_train.data.sampler import TaskBatchSampler
from clwm_train.data.task_data import load_task_data
from clwm_train.kernels.streams import RandomStreams
from clwm_train.methods.resolve import resolve
from clwm_train.model.agent import Agent
from clwm_train.training.allocator import keep_freed_memory
from clwm_train.training.learner import Learner
from clwm_train.training.precision import Precision, matmul_precision

OBSERVATION, ACTION, TASKS, EPISODES, LENGTH = 17, 6, 20, 5, 200
WORLD_MODEL, POLICY, MEAN, SAMPLER = "world-model step", "policy-only step", "mean of both", "sampler"
PRECISIONS: tuple[Precision, ...] = ("fp32", "mixed", "bf16")


@dataclass
class Contestant:
    """Something that trains; ``update`` takes the number of the iteration, ``sample`` too."""

    name: str
    update: Callable[[int], object]
    sample: Callable[[int], object]
    precision: Precision = "fp32"
    seeds: int = 1
    times: dict[str, list[float]] = field(default_factory=dict)


def make_fast(
    config: TrainConfig, data: object, seeds: int, precision: Precision, device: str, compiles: bool
) -> tuple[Contestant, Learner]:
    config = config.model_copy(update={"precision": precision})
    agent = Agent(config, range(seeds), OBSERVATION, ACTION).to(device)
    learner = Learner(config, agent, range(TASKS), compiles=compiles).to(device)
    sampler = TaskBatchSampler(data, config.batch, range(seeds), next_observation=False)
    streams = RandomStreams(range(seeds), device)
    batch = sampler.batch(0)
    name = precision + ", compiled" * compiles + (f", {seeds} seeds" if seeds > 1 else "")
    contestant = Contestant(
        name,
        lambda step: learner.update(batch, step, streams),
        lambda step: sampler.batch(step),
        precision,
        seeds,
    )
    return contestant, learner


def contestants(size: str, seeds: int, device: str, compiled: bool) -> Iterator[Contestant]:
    """The straightforward one first."""
    config = resolve("spc", size, ["context.next_observation=false"])
    tasks = {index: synthetic_task(index, EPISODES, LENGTH, OBSERVATION, ACTION) for index in range(TASKS)}
    data = load_task_data(tasks, config.data, device=device)
    ways = [
        (precision, compiles)
        for precision in PRECISIONS
        for compiles in ((False, True) if compiled else (False,))
    ]
    fast = [make_fast(config, data, 1, precision, device, compiles) for precision, compiles in ways]
    reference = Reference(config, OBSERVATION, ACTION, TASKS)
    copy_weights(reference, fast[0][1].agent, 0)
    reference.to(device)
    rows = RowSampler([task.load() for task in tasks.values()], config.batch, LENGTH)
    batch = rows.batch(OBSERVATION, ACTION).to(device)
    yield Contestant(
        "straightforward",
        lambda step: reference.update(batch, represent=step == 0),
        lambda step: rows.batch(OBSERVATION, ACTION),
    )
    for contestant, _ in fast:
        yield contestant
    if seeds > 1:
        for precision, compiles in ways:
            yield make_fast(config, data, seeds, precision, device, compiles)[0]


def timed(function: Callable[[int], object], argument: int, device: str) -> float:
    """Seconds of one call."""
    clock = time.thread_time if device == "cpu" and torch.get_num_threads() == 1 else time.perf_counter
    begin = clock()
    function(argument)
    if device != "cpu":
        torch.cuda.synchronize()
    return clock() - begin


def run(size: str, rounds: int, seeds: int, device: str, compiled: bool) -> None:
    field_ = list(contestants(size, seeds, device, compiled))
    for number in range(rounds + 1):
        for contestant in field_:
            with matmul_precision(contestant.precision):
                times = {
                    WORLD_MODEL: timed(contestant.update, 0, device),
                    POLICY: timed(contestant.update, 1, device),
                    SAMPLER: timed(contestant.sample, number, device),
                }
            times[MEAN] = (times[WORLD_MODEL] + times[POLICY]) / 2
            if number > 0:  # the first round warms up
                for part, seconds in times.items():
                    contestant.times.setdefault(part, []).append(seconds)
    plain = field_[0]
    print(f"\n{size}: milliseconds, and how many times as quick as the straightforward one\n")
    print("| part | " + " | ".join(contestant.name for contestant in field_) + " |")
    print("|---|" + "---:|" * len(field_))
    for part in (WORLD_MODEL, POLICY, MEAN, SAMPLER):
        cells = []
        for contestant in field_:
            median = 1e3 * statistics.median(contestant.times[part])
            pairs = zip(plain.times[part], contestant.times[part], strict=True)
            ratio = statistics.median(a / b for a, b in pairs)
            ratio *= contestant.seeds
            cells.append(f"{median:,.1f}" + ("" if contestant is plain else f" ({ratio:.2f} x)"))
        print(f"| {part} | " + " | ".join(cells) + " |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sizes", nargs="+", default=["paper", "small", "tiny"])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seeds", type=int, default=1, help="time so many seeds together as well")
    parser.add_argument("--compile", action="store_true", help="time compiled graphs as well")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    keep_freed_memory()
    where = (
        torch.cuda.get_device_name() if options.device != "cpu" else torch.backends.cpu.get_cpu_capability()
    )
    print(f"torch {torch.__version__}, {where}, {torch.get_num_threads()} threads")
    for size in options.sizes:
        run(size, options.rounds, options.seeds, options.device, options.compile)


if __name__ == "__main__":
    main()
