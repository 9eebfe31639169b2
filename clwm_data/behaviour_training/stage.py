"""Choosing a checkpoint between the untrained and the best policy, of equal quality on every task."""

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
    """Choose policies that together come near a target return on every task.

    Easy tasks are learned long before hard ones. A single policy with a mean return halfway to the best plays
    some tasks like the best and others like the untrained one, so a dataset of such policies has gaps exactly
    on the hard tasks. For the same reason every single episode should come near the target: playing half of
    the episodes like the best policy and half of them badly would also give the right mean.

    Args:
        candidates: policies with one episode per task each, which is only enough for a shortlist.
        target: [T] desired mean return on each task, with the policy's noise.
        measure: returns over several episodes.
        limit: maximum number of policies.
        worthwhile: a further policy must reduce the mean distance by more than this.

    Returns:
        the policies, the one that comes nearest on its own first, and which of them plays each task; ``None``
        if no candidate plays all tasks.
    """
    rough = np.asarray([_nearness(candidate.returns[:1], target) for candidate in candidates])
    if not any(np.isfinite(row).all() for row in rough):
        return None
    shortlist = shortlisted(candidates, rough)
    measured = np.asarray([_nearness(measure(candidate)[:, 0], target) for candidate in shortlist])
    chosen = cover(measured, limit, worthwhile)
    return Team.from_players([shortlist[index] for index in chosen], measured[chosen].argmax(axis=0))


def _nearness(returns: NDArray[np.float64], target: NDArray[np.float64]) -> NDArray[np.float64]:
    """Minus the mean distance, over episodes, of returns [E, T] from a target [T]: [T]."""
    return np.asarray(-np.abs(returns - target).mean(axis=0))
