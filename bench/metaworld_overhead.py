"""What a family costs on top of Meta-World itself, in one run: python bench/metaworld_overhead.py"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import metaworld
import numpy as np

from clwm_data.families import get_family
from clwm_data.families.metaworld.simulator import ACTION_REPEAT


def overhead(task: str, rounds: int, steps: int) -> None:
    """Both play the same episode, step by step in turn, so that caches and the machine treat them alike.

    Timed on the thread's own processor clock; the ratio is the median over all pairs of equal steps, which
    other work on the machine moves less than a ratio of sums.
    """
    benchmark = metaworld.ML1(f"{task}-v3", seed=42)
    own = benchmark.train_classes[f"{task}-v3"]()
    own.set_task(benchmark.train_tasks[0])
    env = get_family(f"mw-{task}").make_env(0)

    def by_hand(action: np.ndarray) -> None:
        for _ in range(ACTION_REPEAT):
            own.step(action)

    contestants: list[Callable[[np.ndarray], object]] = [by_hand, env.step]
    actions = np.random.default_rng(0).uniform(-1, 1, (steps, 4)).astype(np.float32)
    times = np.zeros((rounds, steps, 2))
    for round_ in range(rounds):
        own.reset()
        env.reset(seed=0)
        for step, action in enumerate(actions):
            for turn in (0, 1):
                who = (step + round_ + turn) % 2
                start = time.thread_time()
                contestants[who](action)
                times[round_, step, who] = time.thread_time() - start
    theirs, mine = np.median(times, axis=(0, 1)) * 1e6
    ratio = np.median(times[..., 1] / times[..., 0])
    print(f"mw-{task:12} metaworld {theirs:6.0f} us/agent step   clwm {mine:6.0f}   ratio {ratio:.3f}")


def lanes(task: str, count: int, threads: int, steps: int) -> None:
    env = get_family(f"mw-{task}").make_vec_env(list(range(count)), threads=threads)
    env.reset(seed=0)
    actions = np.random.default_rng(0).uniform(-1, 1, (steps, count, 4)).astype(np.float32)
    start = time.perf_counter()
    for action in actions:
        env.step(action)
    rate = steps * count / (time.perf_counter() - start)
    env.close()
    print(f"mw-{task:12} {count} lanes, {threads} worker(s): {rate:7.0f} agent steps/s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", nargs="+", default=["reach", "push", "door-open"])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--steps", type=int, default=190)
    options = parser.parse_args()
    for name in options.tasks:
        overhead(name, options.rounds, options.steps)
    for workers in (1, 2):
        lanes(options.tasks[0], count=8, threads=workers, steps=options.steps // 2)


if __name__ == "__main__":
    main()
