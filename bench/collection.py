"""Transitions per second of collection: random actions against a policy of the zoo's size.

Usage: python bench/collection.py [FAMILY ...] [--repeats 5] [--episodes 32]

The policy is untrained: speed does not depend on the weights, only on where the robot gets to. So that both
drive the same motion, random actions are also *computed* by the policy's network and then replaced.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from clwm_data.behaviours.base import RandomBehaviour
from clwm_data.behaviours.learned import LearnedBehaviour
from clwm_data.collection import rollout
from clwm_data.collection.plan import Segment
from clwm_data.families import get_family
from clwm_data.manifest import BehaviourEntry, Manifest
from clwm_data.zoo.policy import LearnedPolicy


class Computed(RandomBehaviour):
    """Random actions, after a policy was asked for its own."""

    def __init__(self, family, policy, task):
        super().__init__(family)
        self._policy = LearnedBehaviour(family, policy, task)

    def act(self, observation, privileged, noise):
        self._policy.act(observation, privileged, noise)
        return noise


def policy_of(family):
    sizes = (family.observation_size + len(family.conditioning.names), 256, 256, 2 * family.action_size)
    rng = np.random.default_rng(0)
    tensors = {"input.mean": np.zeros(sizes[0]), "input.scale": np.ones(sizes[0])}
    for i in range(3):
        tensors[f"layer.{i}.weight"] = rng.normal(size=sizes[i : i + 2]) / np.sqrt(sizes[i])
        tensors[f"layer.{i}.bias"] = np.zeros(sizes[i + 1])
    return LearnedPolicy({name: tensor.astype(np.float32) for name, tensor in tensors.items()})


def seconds(manifest, behaviour):
    """Processor seconds of one segment: other programs on the machine do not count."""
    original, rollout.make_behaviour = rollout.make_behaviour, lambda *_: behaviour
    try:
        start = time.process_time()
        segment = Segment(5, 0, 0, manifest.behaviours[0].episodes)
        episodes = rollout.roll_out(manifest, segment)
        return (time.process_time() - start) / sum(len(episode.reward) for episode in episodes)
    finally:
        rollout.make_behaviour = original


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("families", nargs="*", default=["cheetah-vel", "hopper-mass", "ant-dir"])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--episodes", type=int, default=32)
    options = parser.parse_args()
    for name in options.families:
        family = get_family(name)
        entry = BehaviourEntry(policy="random", episodes=options.episodes)
        manifest = Manifest(name=name, family=name, behaviours=[entry])
        random, policy = RandomBehaviour(family), Computed(family, policy_of(family), 5)
        seconds(manifest, random), seconds(manifest, policy)  # warm
        pairs = [(seconds(manifest, random), seconds(manifest, policy)) for _ in range(options.repeats)]
        plain, computed = (min(column) for column in zip(*pairs, strict=True))
        print(
            f"{name:14} random {1 / plain:9,.0f} /s   policy {1 / computed:9,.0f} /s   "
            f"ratio {plain / computed:.2f}"
        )


if __name__ == "__main__":
    main()
