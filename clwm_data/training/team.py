"""Policies that share the tasks, and the best of such teams."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: Policies of a run that are looked at closely.
SHORTLIST = 6
#: A further policy must raise the mean return over tasks by this share of what training gained.
WORTHWHILE = 0.005


@dataclass(frozen=True, eq=False)
class Candidate:
    """A policy of a run, at one of its evaluations.

    Attributes:
        run: index of the run.
        environment_steps: of that run's training so far.
        minutes: of that run's wall time so far.
        returns: [2, T] of one episode on each task, with the policy's noise and without it; minus infinity on
            tasks that the run did not train on.
    """

    run: int
    environment_steps: int
    minutes: float
    returns: NDArray[np.float64]


#: Careful returns [2, T] of a policy: with its noise and without it.
Measure = Callable[[Candidate], NDArray[np.float64]]


@dataclass(frozen=True, eq=False)
class Team:
    """Policies that share the tasks.

    Attributes:
        members: the policies.
        player: [T] which of them plays each task.
    """

    members: list[Candidate]
    player: NDArray[np.int64]

    @classmethod
    def alone(cls, policy: Candidate) -> Team:
        """One policy for all tasks."""
        return cls([policy], np.zeros(policy.returns.shape[1], np.int64))

    @classmethod
    def of(cls, policies: Sequence[Candidate], player: NDArray[np.int64]) -> Team:
        """Those of the policies that play any task."""
        playing = np.unique(player)
        return cls([policies[index] for index in playing], np.searchsorted(playing, player))


def best_team(candidates: Sequence[Candidate], measure: Measure, limit: int) -> Team:
    """The policy with the best mean return, and others for tasks that they play better.

    The candidates have one episode per task, too few to choose by: it makes a shortlist, whose returns are
    then measured. What is reported of the team must come from other episodes than these.

    Args:
        candidates: policies, the first of them untrained; at least one for all tasks.
        measure: returns over several episodes.
        limit: the most policies in a team.

    Returns:
        the team, in the order in which they were found worth having.
    """
    rough = np.asarray([candidate.returns.mean(axis=0) for candidate in candidates])
    length = SHORTLIST * len({candidate.run for candidate in candidates})
    covering = _cover(rough, length, 0.0)
    by_mean = [int(index) for index in np.argsort(-rough.mean(axis=1), kind="stable")]
    shortlist = list(dict.fromkeys([*covering[: length // 2], *by_mean[: length // 2], *covering]))
    shortlist = shortlist[:length]
    careful = np.asarray([measure(candidates[index]).mean(axis=0) for index in shortlist])
    gained = float(careful.max(axis=0).mean() - rough[0].mean())
    chosen = _cover(careful, limit, WORTHWHILE * max(gained, 0.0))
    return Team.of([candidates[shortlist[index]] for index in chosen], careful[chosen].argmax(axis=0))


def _cover(returns: NDArray[np.float64], limit: int, worthwhile: float) -> list[int]:
    """Greedily: the row with the best mean, then whichever raises the mean of the maxima over rows most."""
    chosen = [int(returns.mean(axis=1).argmax())]
    while len(chosen) < min(limit, len(returns)):
        reached = returns[chosen].max(axis=0)
        gains = np.maximum(returns - reached, 0.0).mean(axis=1)
        if gains.max() <= worthwhile:
            break
        chosen.append(int(gains.argmax()))
    return chosen
