"""A checkpoint between the untrained policy and the best one: of equal quality on every task."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from clwm_data.training.team import Candidate, Measure, Team


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
    on just the tasks that need it most.

    Args:
        candidates: policies with one episode per task each, enough to choose them by, but who plays which
            task is then decided by careful returns.
        target: [T] mean return of the policy, with its noise, that is wanted on each task.
        measure: returns over several episodes.
        limit: the most policies.
        worthwhile: by how much, in returns and on the mean over tasks, a further policy must come nearer.

    Returns:
        the policies, the one that comes nearest on its own first, and which of them plays each task; ``None``
        where no candidate plays all tasks.
    """
    if not candidates:
        return None
    rough = np.abs(np.asarray([candidate.returns[0] for candidate in candidates]) - target)
    chosen: list[int] = []
    missed = np.full(len(target), np.inf)
    while len(chosen) < limit:
        missing = np.minimum(rough, missed).mean(axis=1)
        nearest = int(missing.argmin())
        if missing[nearest] >= missed.mean() - worthwhile:
            break
        chosen.append(nearest)
        missed = np.minimum(missed, rough[nearest])
    if not chosen:
        return None
    careful = np.abs(np.asarray([measure(candidates[index])[0] for index in chosen]) - target)
    return Team.of([candidates[index] for index in chosen], careful.argmin(axis=0))
