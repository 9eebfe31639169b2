"""Updates of behaviour training (CrossQ) beside those of sb3-contrib and SBX (JAX), and their products.

Usage: OMP_NUM_THREADS=1 XLA_FLAGS=--xla_cpu_multi_thread_eigen=false
       python bench/behaviour_updates.py [--family cheetah-vel] [--updates 4] [--rounds 30]

The same networks, batches of 256 from replay buffers filled by the same random actions, and one call of the
learner's ``train`` with so many updates, as after every step of 8 environments: drawing the batches counts,
compiling does not. torch multiplies as in training runs (``multiplying_fast``). Products: the matrix products
of these updates alone. SBX takes part where ``sbx-rl`` is there.
"""

from __future__ import annotations

import argparse
import importlib.util
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from measure import interleaved, table
from sb3_contrib import CrossQ
from stable_baselines3.common.logger import Logger

from clwm_data.behaviour_training.crossq import make_crossq
from clwm_data.behaviour_training.run import multiplying_fast
from clwm_data.behaviour_training.vec_env import TaskConditionedVecEnv
from clwm_data.families import TaskFamily, get_family

BATCH, WIDTH, ENVIRONMENTS = 256, 256, 8


def filled(learner: Any) -> Any:
    """The learner, once 4,000 environment steps of random actions are in its replay buffer."""
    learner.set_logger(Logger(folder=None, output_formats=[]))
    learner.learning_starts = 10_000
    learner.learn(4_000, log_interval=2**62)
    return learner


def products(inputs: int, actions: int) -> Callable[[], None]:
    """The matrix products of three updates, one of which is of the actor, too."""
    observations = inputs - actions
    critic = [(inputs, WIDTH), (WIDTH, WIDTH), (WIDTH, 1)]
    actor = [(observations, WIDTH), (WIDTH, WIDTH), (WIDTH, 2 * actions)]

    def maps(
        sizes: list[tuple[int, int]], rows: int
    ) -> list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
        return [(torch.randn(rows, a), torch.randn(a, b), torch.randn(rows, b)) for a, b in sizes]

    joint, single, policy = maps(critic, 2 * BATCH), maps(critic, BATCH), maps(actor, BATCH)

    def forward(layers: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]) -> None:
        for x, weight, _ in layers:
            x @ weight

    def backward(
        layers: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]], *, weights: bool, inputs: bool
    ) -> None:
        for number, (x, weight, gradient) in enumerate(layers):
            if weights:
                x.t() @ gradient
            if inputs or number > 0:
                gradient @ weight.t()

    def run() -> None:
        for number in range(3):
            forward(policy)
            for _ in range(2):
                forward(joint)
                backward(joint, weights=True, inputs=False)
            if number == 0:
                forward(policy)
                backward(policy, weights=True, inputs=False)
                for _ in range(2):
                    forward(single)
                    backward(single, weights=False, inputs=True)

    return run


def learners(family: TaskFamily, updates: int) -> dict[str, Any]:
    """Learners by name, with filled replay buffers."""

    def env() -> TaskConditionedVecEnv:
        return TaskConditionedVecEnv(family, family.split("train"), ENVIRONMENTS, seed=0)

    common: dict[str, Any] = {"learning_rate": 1e-3, "buffer_size": 100_000, "seed": 0}
    arch = {"net_arch": [WIDTH, WIDTH]}
    made: dict[str, Any] = {
        "clwm": make_crossq(env(), **common, updates=updates, relabelled=0.0, compiled=True),
        "clwm, not compiled": make_crossq(env(), **common, updates=updates, relabelled=0.0),
        "sb3-contrib": CrossQ("MlpPolicy", env(), **common, policy_kwargs=arch, device="cpu"),
    }
    if importlib.util.find_spec("sbx"):
        from sbx import CrossQ as JaxCrossQ

        made["SBX"] = JaxCrossQ("MlpPolicy", env(), **common, policy_kwargs=arch)
    return {name: filled(learner) for name, learner in made.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--family", default="cheetah-vel")
    parser.add_argument("--updates", type=int, default=4, help="gradient steps a call")
    parser.add_argument("--rounds", type=int, default=30)
    options = parser.parse_args()
    torch.set_num_threads(1)
    np.random.seed(0)  # noqa: NPY002 (the libraries' replay buffers draw with it)
    family = get_family(options.family)
    made = learners(family, options.updates)
    inputs = family.observation_size + family.conditioning.vectors.shape[1] + family.action_size
    alone = products(inputs, family.action_size)

    def train(name: str) -> Callable[[], None]:
        def run() -> None:
            made[name].train(gradient_steps=options.updates, batch_size=BATCH)

        return run

    with multiplying_fast():
        made["clwm"].train(gradient_steps=3, batch_size=BATCH)  # compiles
        contestants: dict[str, Callable[[], object]] = {name: train(name) for name in made}
        contestants["products"] = alone
        times = interleaved(contestants, options.rounds)
    counts = {name: 3 if name == "products" else options.updates for name in times}
    each = {name: 1e3 * processor / counts[name] for name, (_, processor) in times.items()}
    rows = [[name, f"{value:.2f}", f"{value / each['clwm']:.2f}"] for name, value in each.items()]
    table(f"An update of CrossQ, {family.name}", ["", "processor, ms", "of clwm's"], rows)


if __name__ == "__main__":
    main()
