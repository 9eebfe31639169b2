"""A checkpoint between the untrained policy and the best one: of equal quality on every task and episode."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from clwm_data.behaviour_training.team import Candidate, Measure, Team, cover, shortlisted


def choose_stage(
    candidates: Sequence[Candidate],
    target: NDArray[np.float64],
    measure: Measure,
    limit: int,
    *,
    worthwhile: float = 0.0,
) -> Team | None:
    """Policies whose returns come near a target on every task between them.

    Easy tasks are learned long before hard ones. A single policy of a mean return half of the way to the best
    plays some tasks like the best and others like the untrained one, and a dataset of such policies has holes
    on just the tasks that need it most. For the same reason it is single episodes that are to come near: half
    of the episodes played like the best and half of them badly have the right mean, too.

    Args:
        candidates: policies with one episode per task each: enough for a shortlist, no more.
        target: [T] mean return of the policy, with its noise, that is wanted on each task.
        measure: returns over several episodes.
        limit: the most policies.
        worthwhile: a further policy must bring the mean distance down by more than this.

    Returns:
        the policies, the one that comes nearest on its own first, and which of them plays each task; ``None``
        where no candidate plays all tasks.
    """
    rough = np.asarray([_nearness(candidate.returns[:1], target) for candidate in candidates])
    if not any(np.isfinite(row).all() for row in rough):
        return None
    shortlist = shortlisted(candidates, rough)
    careful = np.asarray([_nearness(measure(candidate)[:, 0], target) for candidate in shortlist])
    chosen = cover(careful, limit, worthwhile)
    return Team.of([shortlist[index] for index in chosen], careful[chosen].argmax(axis=0))


def _nearness(returns: NDArray[np.float64], target: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of returns [E, T] to a target [T]: minus the mean distance of episodes [T]."""
    return np.asarray(-np.abs(returns - target).mean(axis=0))
