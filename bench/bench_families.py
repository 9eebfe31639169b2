"""Speed of the task families beside Gymnasium's and dm_control's own environments and bare MuJoCo.

    OMP_NUM_THREADS=1 python bench/bench_families.py

All contestants of a row run the same episode (same initial state, same actions) in turn, round after round;
a figure is the median over rounds, a ratio the median of the ratios within rounds.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import mujoco
import numpy as np

from clwm_data.families import get_family
from clwm_data.families.base import TaskFamily
from clwm_data.families.envs import TaskVectorEnv
from clwm_data.families.mujoco_lanes import STATE, LoopLanes

SEED = 0
TASK = 7


@dataclass(frozen=True)
class Case:
    """A family, MuJoCo steps per agent step, and a number of steps in which no episode of it ends."""

    family: str
    substeps: int
    steps: int
    reference: Callable[[], tuple[Callable[[], Any], Callable[[Any], Any]]]


def gymnasium_reference(name: str) -> Any:
    def build() -> Any:
        import gymnasium

        env = gymnasium.make(name, disable_env_checker=True)
        return (lambda: env.reset(seed=SEED)), env.step

    return build


def dm_control_reference(domain: str, task: str) -> Any:
    def build() -> Any:
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
    Case("cheetah-vel", 5, 150, gymnasium_reference("HalfCheetah-v5")),
    Case("ant-dir", 5, 15, gymnasium_reference("Ant-v5")),
    Case("hopper-mass", 4, 10, gymnasium_reference("Hopper-v5")),
    Case("walker-mass", 4, 10, gymnasium_reference("Walker2d-v5")),
    Case("cheetah-ls", 2, 150, dm_control_reference("cheetah", "run")),
    Case("walker-ls", 20, 30, dm_control_reference("walker", "run")),
    Case("finger-ls", 4, 150, dm_control_reference("finger", "spin")),
]

Contestant = tuple[Callable[[], Any], Callable[[Any], Any], np.ndarray]


def bare(family: TaskFamily, task: int, actions: np.ndarray, substeps: int) -> Contestant:
    """``mj_step`` alone on the task's model, from the same state with the same controls."""
    simulator: Any = family.make_simulator([task])
    simulator.reset(np.zeros(1, np.int64), [SEED])
    model = simulator._lanes.models[0]
    data = mujoco.MjData(model)
    state = simulator._lanes.get_state(0)

    def step(action: np.ndarray) -> None:
        data.ctrl[:] = action
        mujoco.mj_step(model, data, substeps)

    return (lambda: mujoco.mj_setState(model, data, state, STATE)), step, actions


def single(family: TaskFamily, task: int, actions: np.ndarray) -> Contestant:
    env = family.make_env(task)
    return (lambda: env.reset(seed=SEED)), env.step, actions


def vector(
    family: TaskFamily, tasks: Sequence[int], actions: np.ndarray, threads: int, loop: bool
) -> Contestant:
    env = family.make_vec_env(tasks, threads=threads)
    if loop:
        use_loop(env, threads)
    lanes = len(tasks)
    return (lambda: env.reset(seed=[SEED] * lanes)), env.step, np.repeat(actions[:, None], lanes, axis=1)


def use_loop(env: TaskVectorEnv, threads: int) -> None:
    simulator: Any = env._simulator
    post_step = mujoco.mj_rnePostConstraint if simulator.body_forces else None
    simulator._lanes = LoopLanes(
        simulator._lanes.models, simulator.fields, threads=threads, post_step=post_step
    )


def compete(contestants: dict[str, Contestant], rounds: int) -> dict[str, list[float]]:
    """Microseconds per call of ``step``, by contestant and round."""
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for turn in range(rounds + 1):
        for name, (reset, step, actions) in contestants.items():
            reset()
            start = time.perf_counter()
            for action in actions:
                step(action)
            elapsed = time.perf_counter() - start
            if turn:  # the first round warms up
                times[name].append(elapsed / len(actions) * 1e6)
    return times


def ratio(above: Sequence[float], below: Sequence[float]) -> float:
    return median(a / b for a, b in zip(above, below, strict=True))


def actions_of(family: TaskFamily, steps: int) -> np.ndarray:
    shape = (steps, family.action_size)
    return np.random.default_rng(SEED).uniform(-1, 1, shape).astype(np.float32)


def one_env(rounds: int) -> Iterator[str]:
    yield "| family | bare mj_step, us | base environment, us | clwm, us | clwm / bare | base / clwm |"
    yield "|---|---|---|---|---|---|"
    for case in CASES:
        family = get_family(case.family)
        actions = actions_of(family, case.steps)
        reset, step = case.reference()
        times = compete(
            {
                "bare": bare(family, TASK, actions, case.substeps),
                "base": (reset, step, actions),
                "clwm": single(family, TASK, actions),
            },
            rounds,
        )
        us = [f"{median(times[name]):.1f}" for name in ("bare", "base", "clwm")]
        ratios = ratio(times["clwm"], times["bare"]), ratio(times["base"], times["clwm"])
        yield f"| {case.family} | {' | '.join(us)} | {ratios[0]:.2f} | {ratios[1]:.2f} x |"


def many_envs(rounds: int, lanes: int, threads: int) -> Iterator[str]:
    yield (
        f"| family ({lanes} lanes, {threads} threads) | clwm vector, us per lane "
        f"| Python threads, us per lane | share of bare x {threads} "
        f"| x clwm's one-env loop | x the base environment's |"
    )
    yield "|---|---|---|---|---|---|"
    for case in CASES:
        family = get_family(case.family)
        steps = min(case.steps, 40)
        actions = actions_of(family, steps)
        tasks = [lane % 30 for lane in range(lanes)]
        reset, step = case.reference()
        repeat = np.concatenate([actions] * 3)
        times = compete(
            {
                "bare": bare(family, TASK, actions, case.substeps),
                "base": (reset, step, actions),
                "clwm": single(family, TASK, actions),
                "vector": vector(family, tasks, actions, threads, loop=False),
                "loop": vector(family, tasks, actions, threads, loop=True),
            },
            rounds,
        )
        del repeat
        lane = {name: [t / lanes for t in times[name]] for name in ("vector", "loop")}
        share = ratio(times["bare"], lane["vector"]) / threads
        yield (
            f"| {case.family} | {median(lane['vector']):.1f} | {median(lane['loop']):.1f} | {share:.0%} "
            f"| {ratio(times['clwm'], lane['vector']):.1f} x | {ratio(times['base'], lane['vector']):.1f} x |"
        )


def build_cost(textures: bool) -> None:
    """Print seconds and megabytes for 40 cheetahs of different length (run in a process of its own)."""
    family: Any = get_family("cheetah-ls")
    family.load_model(0.5)
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    models = [
        family.load_model(length, "rgb_array" if textures else None) for length in np.linspace(0.3, 0.7, 40)
    ]
    seconds = time.perf_counter() - start
    memory = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(f"{seconds:.2f} | {memory:.0f} | {len(models)}")


def building() -> Iterator[str]:
    yield "| 40 dm_control cheetahs | seconds | MB |"
    yield "|---|---|---|"
    for name, flag in (("to step", "--build-lean"), ("to render", "--build-full")):
        out = subprocess.run(
            [sys.executable, __file__, flag], check=True, capture_output=True, text=True
        ).stdout
        seconds, memory, _ = out.strip().splitlines()[-1].split(" | ")
        yield f"| {name} | {seconds} | {memory} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=31)
    parser.add_argument("--lanes", type=int, default=40)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--only", help="table to print: one, many or build")
    parser.add_argument("--build-lean", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--build-full", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.build_lean or args.build_full:
        build_cost(textures=args.build_full)
        return
    tables = {
        "one": lambda: one_env(args.rounds),
        "many": lambda: many_envs(args.rounds, args.lanes, args.threads),
        "build": building,
    }
    for name, table in tables.items():
        if args.only in (None, name):
            print(*table(), sep="\n", end="\n\n", flush=True)


if __name__ == "__main__":
    main()
