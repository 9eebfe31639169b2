"""Which of the policies that a run went through are kept."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from clwm_data.training.settings import CurvePoint


def choose_checkpoints(curve: Sequence[CurvePoint], count: int) -> dict[int, CurvePoint]:
    """Checkpoints whose mean returns spread evenly from the untrained policy to the best one.

    The best is the one with the highest mean deterministic return, which need not be the last; the spread is
    of the mean stochastic return, since that is what most datasets are collected with.

    Args:
        curve: all evaluations, the first of the untrained policy.
        count: how many to choose, at least 2.

    Returns:
        quality in per cent (0 untrained, 100 best) -> evaluation; fewer than ``count`` if the curve is short.
    """
    best = max(range(len(curve)), key=lambda i: float(np.mean(curve[i].returns_deterministic)))
    levels = np.asarray([np.mean(point.returns_stochastic) for point in curve[: best + 1]])
    chosen = {0: 0, 100: best}
    for quality in np.linspace(0.0, 100.0, count)[1:-1]:
        target = levels[0] + quality / 100.0 * (levels[best] - levels[0])
        free = [i for i in range(1, best) if i not in chosen.values()]
        if free:
            chosen[round(quality)] = min(free, key=lambda i: abs(levels[i] - target))
    if best == 0:
        del chosen[100]
    return {quality: curve[chosen[quality]] for quality in sorted(chosen)}
