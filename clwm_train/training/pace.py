"""Decay of the learning rates over the course of a training."""

from __future__ import annotations


def pace(step: int, steps: int, decay: float) -> float:
    """Factor on all learning rates at update ``step`` (from 0) of ``steps``: 1, then decreasing linearly to 0
    over the last share ``decay`` of the updates, and 0 afterwards.
    """
    return max(0.0, min(1.0, (steps - step) / (decay * steps))) if decay else 1.0
