"""Speed of the task families beside Gymnasium's and dm_control's own environments and bare MuJoCo.

    OMP_NUM_THREADS=1 python bench/bench_families.py

All contestants of a row run the same episode (same model, initial state and actions) in turn, round after
round. Every few steps of the episode are timed by themselves; of each such stretch the lower decile over the
rounds is taken, since other work on the machine only ever adds to it, and in brackets the median. Printed is
the mean over the episode.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import mujoco
import numpy as np

from clwm_data.families import get_family
from clwm_data.families.base import TaskFamily
from clwm_data.families.simulation.mujoco_lanes import STATE

SEED = 0
TASK = 12

Step = Callable[[Any], Any]
Reset = Callable[[], Any]


@dataclass(frozen=True)
class Contestant:
    """Something that steps; ``lanes`` episodes at a time."""

    reset: Reset
    step: Step
    actions: np.ndarray
    lanes: int = 1


@dataclass(frozen=True)
class Case:
    """A family, MuJoCo steps per agent step, steps in which no episode of it ends, its base environment."""

    family: str
    substeps: int
    steps: int
    base: Callable[[Any], tuple[Reset, Step]]


def gymnasium_base(name: str) -> Callable[[Any], tuple[Reset, Step]]:
    def build(model: Any) -> tuple[Reset, Step]:
        import gymnasium

        env = gymnasium.make(name)
        own: Any = env.unwrapped
        own.model.body_mass[:] = model.body_mass
        own.model.body_inertia[:] = model.body_inertia
        mujoco.mj_setConst(own.model, own.data)
        return (lambda: env.reset(seed=SEED)), env.step

    return build


def dm_control_base(domain: str, task: str) -> Callable[[Any], tuple[Reset, Step]]:
    def build(model: Any) -> tuple[Reset, Step]:
        from dm_control import suite

        env = suite.load(domain, task)

        def reset() -> None:
            env.task._random = np.random.RandomState(np.random.MT19937(SEED))
            env.reset()

        def step(action: Any) -> None:
            env.step(action)
            env.step(action)

        return reset, step

    return build


CASES = [
    Case("cheetah-vel", 5, 60, gymnasium_base("HalfCheetah-v5")),
    Case("ant-dir", 5, 15, gymnasium_base("Ant-v5")),
    Case("hopper-mass", 4, 10, gymnasium_base("Hopper-v5")),
    Case("walker-mass", 4, 10, gymnasium_base("Walker2d-v5")),
    Case("cheetah-speed", 2, 60, dm_control_base("cheetah", "run")),
    Case("walker-speed", 20, 30, dm_control_base("walker", "run")),
    Case("finger-speed", 4, 60, dm_control_base("finger", "spin")),
]


def bare(family: TaskFamily, actions: np.ndarray, substeps: int) -> Contestant:
    """``mj_step`` alone on the task's model, from the same state with the same controls."""
    simulator: Any = family.make_simulator([TASK])
    simulator.reset(np.zeros(1, np.int64), [SEED])
    model, state = simulator._lanes.models[0], simulator._lanes.get_state(0)
    data = mujoco.MjData(model)

    def step(action: np.ndarray) -> None:
        data.ctrl[:] = action
        mujoco.mj_step(model, data, substeps)

    return Contestant(lambda: mujoco.mj_setState(model, data, state, STATE), step, actions)


def base(case: Case, family: TaskFamily, actions: np.ndarray) -> Contestant:
    simulator: Any = family.make_simulator([TASK])
    return Contestant(*case.base(simulator._lanes.models[0]), actions)


def single(family: TaskFamily, actions: np.ndarray) -> Contestant:
    env = family.make_env(TASK)
    return Contestant(lambda: env.reset(seed=SEED), env.step, actions)


def vector(family: TaskFamily, actions: np.ndarray, lanes: int, threads: int) -> Contestant:
    env = family.make_vec_env([TASK] * lanes, threads=threads)
    repeated = np.repeat(actions[:, None], lanes, axis=1)
    return Contestant(lambda: env.reset(seed=[SEED] * lanes), env.step, repeated, lanes)


def vector_in_a_loop(family: TaskFamily, actions: np.ndarray, lanes: int, threads: int) -> Contestant:
    with mock.patch("clwm_data.families.simulation.mujoco_lanes.find_spec", return_value=None):
        return vector(family, actions, lanes, threads)


def compete(contestants: dict[str, Contestant], rounds: int) -> dict[str, tuple[float, float]]:
    """Microseconds per step and lane of each contestant: lower decile and median."""
    times: dict[str, list[list[float]]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, contestant in contestants.items():
            step = contestant.step
            chunk = 5 if contestant.lanes == 1 else 1
            contestant.reset()
            times[name].append([])
            for first in range(0, len(contestant.actions), chunk):
                actions = contestant.actions[first : first + chunk]
                start = time.perf_counter()
                for action in actions:
                    step(action)
                elapsed = time.perf_counter() - start
                times[name][-1].append(elapsed / len(actions) / contestant.lanes * 1e6)
    return {
        name: (np.percentile(taken, 10, axis=0).mean(), np.median(taken, axis=0).mean())
        for name, taken in times.items()
    }


def cells(times: dict[str, tuple[float, float]], *names: str) -> str:
    return " | ".join(f"{times[name][0]:.1f} ({times[name][1]:.1f})" for name in names)


def actions_of(family: TaskFamily, steps: int) -> np.ndarray:
    shape = (steps, family.action_size)
    return np.random.default_rng(SEED).uniform(-1, 1, shape).astype(np.float32)


def one_env(cases: Sequence[Case], rounds: int) -> Iterator[str]:
    yield "One environment, us per agent step:\n"
    yield "| family | bare mj_step | base environment | clwm | clwm / bare | base / clwm |"
    yield "|---|---|---|---|---|---|"
    for case in cases:
        family = get_family(case.family)
        actions = actions_of(family, case.steps)
        times = compete(
            {
                "bare": bare(family, actions, case.substeps),
                "base": base(case, family, actions),
                "clwm": single(family, actions),
            },
            rounds,
        )
        (b, _), (r, _), (c, _) = times.values()
        yield f"| {case.family} | {cells(times, *times)} | {c / b:.2f} | {r / c:.2f} x |"


def many_envs(cases: Sequence[Case], rounds: int, lanes: int, threads: int) -> Iterator[str]:
    yield f"{lanes} lanes on {threads} threads, us per agent step and lane:\n"
    yield (
        f"| family | vector | vector without mjbatch | share of bare mj_step x {threads} "
        "| x clwm's single | x base environment |"
    )
    yield "|---|---|---|---|---|---|"
    for case in cases:
        family = get_family(case.family)
        actions = actions_of(family, case.steps)
        times = compete(
            {
                "bare": bare(family, actions, case.substeps),
                "base": base(case, family, actions),
                "clwm": single(family, actions),
                "vector": vector(family, actions, lanes, threads),
                "loop": vector_in_a_loop(family, actions, lanes, threads),
            },
            rounds,
        )
        (b, _), (r, _), (c, _), (v, _), _ = times.values()
        yield (
            f"| {case.family} | {cells(times, 'vector', 'loop')} | {b / v / threads:.0%} "
            f"| {c / v:.1f} x | {r / v:.1f} x |"
        )


def build_cost(textures: bool) -> None:
    """Print seconds and megabytes for 40 cheetahs of different length (run in a process of its own)."""
    family: Any = get_family("cheetah-ls")
    family.load_model(0.5)
    lengths = np.linspace(0.3, 0.7, 40)
    before, start = resident(), time.perf_counter()
    models = [family.load_model(length, "rgb_array" if textures else None) for length in lengths]
    data = [mujoco.MjData(model) for model in models]
    seconds = time.perf_counter() - start
    print(f"{seconds:.2f} | {resident() - before:.0f} | {len(data)}")


def resident() -> float:
    """Megabytes of memory this process holds (Linux)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def building() -> Iterator[str]:
    yield "Building 40 cheetahs of different length, model and data each:\n"
    yield "| textures | seconds | MB |"
    yield "|---|---|---|"
    for name, flag in (("left out (to step)", "--build-lean"), ("full (to render)", "--build-full")):
        command = [sys.executable, __file__, flag]
        out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        seconds, memory, _ = out.strip().splitlines()[-1].split(" | ")
        yield f"| {name} | {seconds} | {memory} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--lanes", type=int, default=40)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--families", help="a comma-separated choice")
    parser.add_argument("--tables", default="one,many,build", help="a comma-separated choice of these")
    parser.add_argument("--build-lean", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--build-full", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.build_lean or args.build_full:
        build_cost(textures=args.build_full)
        return
    cases = [case for case in CASES if args.families is None or case.family in args.families.split(",")]
    tables: dict[str, Callable[[], Iterator[str]]] = {
        "one": lambda: one_env(cases, args.rounds),
        "many": lambda: many_envs(cases, args.rounds, args.lanes, args.threads),
        "build": building,
    }
    for name in args.tables.split(","):
        print(*tables[name](), sep="\n", end="\n\n", flush=True)


if __name__ == "__main__":
    main()
