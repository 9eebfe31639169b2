"""How fast everything learns, over the course of a training."""

from __future__ import annotations


def pace(step: int, steps: int, decay: float) -> float:
    """The factor of all learning rates at update ``step`` (from 0) of ``steps``: 1, and over the last share
    ``decay`` of the updates linearly down to 0, where it stays.
    """
    return max(0.0, min(1.0, (steps - step) / (decay * steps))) if decay else 1.0
