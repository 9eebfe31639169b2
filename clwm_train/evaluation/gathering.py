"""Contexts that an agent gathers itself, in the task on which it is then evaluated."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from clwm_data.families import TaskFamily
from clwm_train.acting.actor import Actor
from clwm_train.acting.belief import Belief, FixedBelief
from clwm_train.evaluation.lanes import Lanes
from clwm_train.kernels.streams import Purpose, derive


@dataclass(frozen=True)
class Gathering:
    """How contexts are gathered.

    Attributes:
        steps: transitions per lane.
        random_steps: number of first steps with uniform actions, which are the same for every seed.
        keep_prior: always act on the prior; else on what is inferred from all steps so far, across episodes.
        seed: seed of episodes and random actions.
    """

    steps: int
    random_steps: int = 0
    keep_prior: bool = False
    seed: int = 0


def gather_context(
    actor: Actor,
    family: TaskFamily,
    tasks: Sequence[int],
    inferred: Belief,
    gathering: Gathering,
    *,
    threads: int = 1,
    on_step: Callable[[], object] = lambda: None,
) -> Tensor:
    """z [S, L, z] from transitions that the agent gathers, in as many episodes as necessary.

    Args:
        actor: acts for an agent of S seeds.
        family: the task family.
        tasks: [L] task index of each lane; all lanes gather at the same time.
        inferred: belief about the L lanes, before any observation; it observes all transitions.
        gathering: how contexts are gathered.
        threads: maximum number of threads of the simulator.
        on_step: called after every step of all lanes.
    """
    acted_on: Belief = FixedBelief(inferred.z) if gathering.keep_prior else inferred
    copies, seed = len(actor.agent.seeds), gathering.seed
    generators = [np.random.default_rng(derive(seed, Purpose.GATHERING, task)) for task in tasks]
    episode = np.zeros(copies * len(tasks), np.int64)

    def seeds() -> list[int]:
        numbered = zip([*tasks] * copies, episode.tolist(), strict=True)
        return [derive(seed, Purpose.GATHERING, task, 1 + number) for task, number in numbered]

    with Lanes(actor.agent, family, tasks, threads=threads) as lanes:
        lanes.reset(actor, seeds())
        for step in range(gathering.steps):
            ended = ~lanes.active
            if ended.any():
                episode += ended
                lanes.reset(actor, seeds(), ended)
            if step < gathering.random_steps:
                drawn = [generator.uniform(-1.0, 1.0, family.action_size) for generator in generators]
                action = np.asarray(drawn * copies, np.float32)
            else:
                action = lanes.act(actor, acted_on)
            lanes.step(action, inferred)
            on_step()
    return inferred.z
