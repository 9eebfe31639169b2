"""Contexts over Gymnasium's MuJoCo environments, batched and one by one: python bench/contexts.py

Both simulators take the same actions in turn, round by round, so that the machine treats them alike.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from clwm_data.families.declared import FamilyDeclaration
from clwm_data.families.declared.batched import batched_simulator
from clwm_data.families.declared.simulator import DeclaredSimulator
from clwm_data.families.gymnasium_mujoco.originals import ORIGINALS

LANES = 32
PARAMETERS = {"mass": [0.5, 2.0], "friction": [0.5, 2.0], "gravity": [0.8, 1.2], "wind": [-1.0, 1.0]}


def measure(env: str, rounds: int, steps: int) -> None:
    """Agent steps per second of processor time: the medians over rounds."""
    known = FamilyDeclaration.model_validate(
        {
            "name": "contexts",
            "env": env,
            "horizon": 200,
            "apply": "mujoco-context",
            "tasks": {"sample": {"train": LANES}, "parameters": PARAMETERS},
        }
    )
    tasks = known.task_list()
    simulators = {"one by one": DeclaredSimulator(known, tasks), "batched": batched_simulator(known, tasks)}
    actions = np.random.default_rng(0).uniform(
        -1, 1, (steps, LANES, simulators["batched"].observe().shape[1])
    )
    size = simulators["one by one"].translation.action_size  # type: ignore[attr-defined]
    speeds: dict[str, list[float]] = {name: [] for name in simulators}
    for number in range(rounds):
        for name, simulator in simulators.items():
            simulator.reset(np.arange(LANES), [number * LANES + lane for lane in range(LANES)])
            start = time.process_time()
            for action in actions:
                simulator.step(action[:, :size], np.ones(LANES, np.bool_))
                simulator.observe()
            speeds[name].append(steps * LANES / (time.process_time() - start))
    before, after = (float(np.median(speeds[name])) for name in simulators)
    print(f"{env:16} one by one {before:8,.0f} /s   batched {after:8,.0f} /s   {after / before:.1f} x")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=50)
    options = parser.parse_args()
    for name in ORIGINALS:
        measure(name, options.rounds, options.steps)
