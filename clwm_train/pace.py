"""How fast what learns, over the course of a training."""

from __future__ import annotations

from dataclasses import dataclass

from clwm_train.config import TrainConfig


@dataclass(frozen=True)
class Pace:
    """Factors of the learning rates at one update.

    Attributes:
        representation: of context encoder, world model and what else the objectives train; at 0 they are left
            out of the update.
        iql: of policy, value network and critics.
    """

    representation: float = 1.0
    iql: float = 1.0


FULL = Pace()


def pace(config: TrainConfig, step: int, steps: int) -> Pace:
    """The pace of update ``step`` (from 0) of ``steps``."""
    decay = config.learning_rate_decay
    return Pace(_falling(step, config.representation_share * steps, decay), _falling(step, steps, decay))


def _falling(step: int, until: float, decay: float) -> float:
    """1, over the last ``decay`` of the updates before ``until`` linearly down to 0, which it stays."""
    left = until - step
    if left <= 0.0:
        return 0.0
    return min(1.0, left / (decay * until)) if decay else 1.0
