"""Contexts that an agent gathers itself, in the task that it is to be evaluated on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from clwm_data.families import TaskFamily
from clwm_train.acting.actor import Actor
from clwm_train.acting.belief import Belief, FixedBelief
from clwm_train.evaluate.lanes import Lanes
from clwm_train.kernels.streams import Purpose, derive
from clwm_train.model.agent import Agent


def gather_context(
    agent: Agent,
    family: TaskFamily,
    tasks: Sequence[int],
    actor: Actor,
    inferred: Belief,
    *,
    steps: int,
    random_steps: int,
    keep_prior: bool,
    seed: int,
    threads: int = 1,
) -> Tensor:
    """z [S, L, z] from transitions that the agent gathers in as many episodes as it takes.

    Args:
        agent: of S seeds.
        family: of tasks.
        tasks: [L] task index of each lane; all gather at once.
        actor: who acts.
        inferred: about the L lanes, with nothing observed yet; takes in all transitions.
        steps: transitions per lane.
        random_steps: the first of them take uniform actions, the same for every seed of the agent.
        keep_prior: act on what is inferred from nothing all the time; else on everything seen so far, across
            episodes.
        seed: of episodes and random actions.
        threads: that the simulator may use.
    """
    acted_on: Belief = FixedBelief(inferred.z) if keep_prior else inferred
    copies = len(agent.seeds)
    generators = [np.random.default_rng(derive(seed, Purpose.GATHERING, task)) for task in tasks]
    episode = np.zeros(copies * len(tasks), np.int64)

    def seeds() -> list[int]:
        numbered = zip([*tasks] * copies, episode.tolist(), strict=True)
        return [derive(seed, Purpose.GATHERING, task, 1 + number) for task, number in numbered]

    with Lanes(agent, family, tasks, threads=threads) as lanes:
        lanes.reset(actor, seeds())
        for step in range(steps):
            ended = ~lanes.active
            if ended.any():
                episode += ended
                lanes.reset(actor, seeds(), ended)
            if step < random_steps:
                drawn = [generator.uniform(-1.0, 1.0, family.action_size) for generator in generators]
                action = np.asarray(drawn * copies, np.float32)
            else:
                action = lanes.act(actor, acted_on)
            lanes.step(action, inferred)
    return inferred.z
