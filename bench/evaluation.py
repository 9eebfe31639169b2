"""Evaluation of all tasks of a family at once, beside one after another, interleaved.

Usage: OMP_NUM_THREADS=1 python bench/evaluation.py [--family cheetah-vel] [--rounds 3] [--episodes 1]

A `paper`-sized agent as initialised acts zero-shot: z is inferred anew after every step.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence

from clwm_data.families import TaskFamily, get_family
from clwm_train.evaluation import PolicyActor, RunningBelief, roll_out
from clwm_train.methods.resolve import resolve
from clwm_train.model.agent import Agent
from clwm_train.runs.run import resolve_for


def seconds(agent: Agent, family: TaskFamily, groups: Sequence[Sequence[int]], episodes: int) -> float:
    """Time of one roll-out per group of tasks."""
    begin = time.perf_counter()
    for group in groups:
        lanes = [index for index in group for _ in range(episodes)]
        belief = RunningBelief(agent, len(lanes))
        roll_out(PolicyActor(agent), family, lanes, belief, range(len(lanes)))
    return time.perf_counter() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--family", default="cheetah-vel")
    parser.add_argument("--preset", default="paper")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--episodes", type=int, default=1, help="per task")
    options = parser.parse_args()
    family = get_family(options.family)
    config = resolve_for(family, resolve("spc", options.preset))
    agent = Agent(config, [0], family.observation_size, family.action_size).eval()
    tasks = [index for split in ("train", "id", "ood") for index in family.split(split)]
    together, apart = [], []
    for _ in range(options.rounds):
        together.append(seconds(agent, family, [tasks], options.episodes))
        apart.append(seconds(agent, family, [[index] for index in tasks], options.episodes))
    ratio = statistics.median(a / b for a, b in zip(apart, together, strict=True))
    print(f"{family.name}, {len(tasks)} tasks, {options.episodes} episodes each, {options.preset}")
    print(f"together {statistics.median(together):.2f} s, one after another {statistics.median(apart):.2f} s")
    print(f"{ratio:.1f} x")


if __name__ == "__main__":
    main()
