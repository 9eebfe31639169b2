"""Lanes of cheetah-speed beside bare ``mj_step`` of the same states: where the time of a step goes.

Usage: OMP_NUM_THREADS=1 python bench/lanes.py [--lanes 40] [--steps 100] [--rounds 5]

In each round the contestants take as many steps from the same states, with the same actions, in turn: the
vector environment; ``mj_step`` on an ``MjData`` of each lane, which holds its state; and on a single one for
all lanes, whose memory stays in the cache, but into which states are copied. Then resets, beside the steps
without control in which the suite's own environment settles. Processor time of the thread.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import mujoco
import numpy as np
from measure import table

from clwm_data.families import get_family
from clwm_data.families.dm_control.cheetah import SETTLING_STEPS, CheetahSimulator

STATE = mujoco.mjtState.mjSTATE_INTEGRATION


def microseconds(action: Callable[[], object]) -> float:
    """The thread's processor time."""
    begin = time.thread_time_ns()
    action()
    return (time.thread_time_ns() - begin) / 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--lanes", type=int, default=40)
    parser.add_argument("--steps", type=int, default=100, help="of a round")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    family = get_family("cheetah-speed")
    tasks = [index % len(family.tasks) for index in range(options.lanes)]
    simulator = family.make_simulator(tasks)
    assert isinstance(simulator, CheetahSimulator)
    model, substeps = simulator._lanes.models[0], 2 * simulator.substeps
    single, own = mujoco.MjData(model), [mujoco.MjData(model) for _ in tasks]
    env = family.make_vec_env(tasks)
    states = np.empty((len(tasks), mujoco.mj_stateSize(model, STATE)))
    before = mujoco.mj_stateSize(model, mujoco.mjtState.mjSTATE_CTRL - 1)  # the bits of what precedes it
    controls = slice(before, before + model.nu)

    def step_own(count: int) -> None:
        for data in own:
            mujoco.mj_step(model, data, count)

    def step_single(count: int) -> None:
        for state in states:
            mujoco.mj_setState(model, single, state, STATE)
            mujoco.mj_step(model, single, count)
            mujoco.mj_getState(model, single, state, STATE)

    times: dict[str, list[float]] = {"clwm": [], "an MjData for each lane": [], "one MjData for all": []}
    resets, settling = [], []
    random = np.random.default_rng(0)
    shape = (options.steps, len(tasks), family.action_size)
    for number in range(options.rounds):
        actions = random.uniform(-1.0, 1.0, shape).astype(np.float32)
        resets.append(microseconds(lambda seed=number: env.reset(seed=seed)))
        for lane, data in enumerate(own):
            states[lane] = env.get_state(lane)[: states.shape[1]]
            mujoco.mj_setState(model, data, states[lane], STATE)
        for action in actions:
            times["clwm"].append(microseconds(lambda action=action: env.step(action)))
        for action in actions:
            states[:, controls] = action
            times["one MjData for all"].append(microseconds(lambda: step_single(substeps)))
        for action in actions:
            for data, control in zip(own, action, strict=True):
                data.ctrl[:] = control
            times["an MjData for each lane"].append(microseconds(lambda: step_own(substeps)))
        for lane, data in enumerate(own):
            mujoco.mj_getState(model, data, states[lane], STATE)
            assert np.array_equal(states[lane], env.get_state(lane)[: states.shape[1]])
        settling.append(microseconds(lambda: step_own(SETTLING_STEPS)))
    steps = {name: statistics.median(values) for name, values in times.items()}
    bare, reset, settled = steps["an MjData for each lane"], *map(statistics.median, (resets, settling))
    table(
        f"{options.lanes} lanes of {family.name}, an agent step of all, median",
        ["", "us", "beside an MjData for each lane"],
        [[name, f"{value:.0f}", f"{value / bare:.2f} x"] for name, value in steps.items()],
    )
    whole = (family.horizon * steps["clwm"] + reset) / (family.horizon * bare + settled)
    print(
        f"\na reset {reset / 1e3:.1f} ms, {SETTLING_STEPS} mj_step {settled / 1e3:.1f} ms; "
        f"an episode with its reset {whole:.2f} x"
    )


if __name__ == "__main__":
    main()
