"""Policies that share the tasks, and the best of such teams."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clwm_data.training.settings import CurvePoint

#: Policies that are looked at closely.
SHORTLIST = 6
#: A further policy must raise the mean return over tasks by this share of what training gained.
WORTHWHILE = 0.005

#: Careful returns [2, T] of the policy at a point of the curve: with its noise and without it.
Measure = Callable[[CurvePoint], NDArray[np.float64]]


@dataclass(frozen=True)
class Team:
    """Policies of a run that share its tasks.

    Attributes:
        points: when the run had them.
        member: [T] which of them plays each of the run's tasks.
    """

    points: list[CurvePoint]
    member: NDArray[np.int64]

    @classmethod
    def alone(cls, point: CurvePoint) -> Team:
        """One policy for all tasks."""
        return cls([point], np.zeros(len(point.returns_stochastic), np.int64))

    @classmethod
    def of(cls, points: Sequence[CurvePoint], member: NDArray[np.int64]) -> Team:
        """Those of the policies that play any task."""
        playing = np.unique(member)
        return cls([points[index] for index in playing], np.searchsorted(playing, member))


def best_team(curve: Sequence[CurvePoint], measure: Measure, limit: int) -> Team:
    """The policy with the best mean return, and others for tasks that they play better.

    The curve has one episode per task, too few to choose by: it makes a shortlist, whose returns are then
    measured. What is reported of the team must come from other episodes than these.

    Args:
        curve: all evaluations, the first of the untrained policy.
        measure: returns [T] over several episodes.
        limit: the most policies in a team.

    Returns:
        the team, in the order in which they were found worth having.
    """
    rough = np.asarray([_both(point) for point in curve])
    covering = _cover(rough, SHORTLIST, 0.0)
    by_mean = [int(index) for index in np.argsort(-rough.mean(axis=1), kind="stable")]
    shortlist = list(dict.fromkeys([*covering[: SHORTLIST // 2], *by_mean[: SHORTLIST // 2], *covering]))
    shortlist = shortlist[:SHORTLIST]
    careful = np.asarray([measure(curve[index]).mean(axis=0) for index in shortlist])
    gained = float(careful.max(axis=0).mean() - rough[0].mean())
    chosen = _cover(careful, limit, WORTHWHILE * max(gained, 0.0))
    return Team.of([curve[shortlist[index]] for index in chosen], careful[chosen].argmax(axis=0))


def _both(point: CurvePoint) -> NDArray[np.float64]:
    return np.add(point.returns_stochastic, point.returns_deterministic, dtype=np.float64) / 2.0


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
