"""Episodes of an agent in many tasks at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clwm_data.families import TaskFamily
from clwm_train.acting.actor import Actor
from clwm_train.acting.belief import Belief
from clwm_train.evaluation.lanes import Lanes


@dataclass(frozen=True)
class Episodes:
    """One episode in every lane.

    Attributes:
        tasks: [L] task index of each lane.
        seeds: [L] seed of each lane's episode.
        returns: [S, L] float64, undiscounted, in the environment's scale.
        success: [S, L] bool, solved at some step; ``None`` if the family has no success.
        lengths: [S, L] int64, steps.
        observations: [S, L, horizon + 1, obs] float32; after the end of an episode, its last observation is
            repeated.
        actions: [S, L, n, act] float32, what the agent chose in the n steps of the longest episode.
    """

    tasks: tuple[int, ...]
    seeds: tuple[int, ...]
    returns: NDArray[np.float64]
    success: NDArray[np.bool_] | None
    lengths: NDArray[np.int64]
    observations: NDArray[np.float32]
    actions: NDArray[np.float32]


def roll_out(
    actor: Actor,
    family: TaskFamily,
    tasks: Sequence[int],
    belief: Belief,
    seeds: Sequence[int],
    *,
    threads: int = 1,
    on_step: Callable[[], object] = lambda: None,
) -> Episodes:
    """Run one episode per lane, all lanes (and all S seeds of the agent) in one vector environment.

    Args:
        actor: acts for an agent of S seeds.
        family: the task family.
        tasks: [L] task index of each lane.
        belief: belief about the lanes' tasks.
        seeds: [L] seeds of the episodes, the same for every seed of the agent.
        threads: maximum number of threads of the simulator.
        on_step: called after every step of all lanes.
    """
    copies = len(actor.agent.seeds)
    total = copies * len(tasks)
    returns, lengths, success = np.zeros(total), np.zeros(total, np.int64), np.zeros(total, np.bool_)
    with Lanes(actor.agent, family, tasks, threads=threads) as lanes:
        lanes.reset(actor, [*seeds] * copies)
        seen, taken = [lanes.observation], []
        while lanes.active.any():
            lengths += lanes.active
            taken.append(lanes.act(actor, belief))
            reward, info = lanes.step(taken[-1], belief)
            returns += reward
            success |= info.get("success", False)
            seen.append(lanes.observation)
            on_step()
    seen += [seen[-1]] * (family.horizon + 1 - len(seen))

    def by_seed(array: NDArray[Any]) -> NDArray[Any]:
        return array.reshape(copies, len(tasks), *array.shape[1:])

    return Episodes(
        tasks=tuple(tasks),
        seeds=tuple(seeds),
        returns=by_seed(returns),
        success=by_seed(success) if family.has_success else None,
        lengths=by_seed(lengths),
        observations=by_seed(np.stack(seen, 1)),
        actions=by_seed(np.stack(taken, 1)),
    )
