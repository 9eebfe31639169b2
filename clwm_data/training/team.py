"""The best checkpoint: the policy with the best mean, and others for tasks that they play better."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from clwm_data.training.settings import CurvePoint

#: Policies that are looked at closely.
SHORTLIST = 6
#: A further policy must raise the mean return over tasks by this share of what training gained.
WORTHWHILE = 0.005

#: Careful returns [T] of the policy at a point of the curve.
Measure = Callable[[CurvePoint], NDArray[np.float64]]


def choose_team(
    curve: Sequence[CurvePoint], measure: Measure, limit: int
) -> tuple[list[CurvePoint], NDArray[np.int64]]:
    """Policies that play the tasks between them.

    The curve has one episode per task, too few to choose by: it makes a shortlist, whose returns are then
    measured. What is reported of the team must come from other episodes than these.

    Args:
        curve: all evaluations, the first of the untrained policy.
        measure: returns [T] over several episodes.
        limit: the most policies in a team.

    Returns:
        the policies, the one with the best mean first, and [T] which of them plays each task.
    """
    rough = np.asarray([_both(point) for point in curve])
    covering = _cover(rough, SHORTLIST, 0.0)
    by_mean = [int(index) for index in np.argsort(-rough.mean(axis=1), kind="stable")]
    shortlist = list(dict.fromkeys([*covering[: SHORTLIST // 2], *by_mean[: SHORTLIST // 2], *covering]))
    shortlist = shortlist[:SHORTLIST]
    careful = np.asarray([measure(curve[index]) for index in shortlist])
    gained = float(careful.max(axis=0).mean() - rough[0].mean())
    chosen = _cover(careful, limit, WORTHWHILE * max(gained, 0.0))
    member = careful[chosen].argmax(axis=0)
    played = [index for index in range(len(chosen)) if index == 0 or (member == index).any()]
    renumbered = np.searchsorted(played, member)
    return [curve[shortlist[chosen[index]]] for index in played], renumbered


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
