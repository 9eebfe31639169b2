"""Evaluation: how well an agent adapts to the tasks of its family."""

from clwm_train.evaluate.context import infer_from_data
from clwm_train.evaluate.protocols import PROTOCOLS, Protocol, evaluate
from clwm_train.evaluate.rollout import Belief, EpisodeBelief, Episodes, FixedBelief, roll_out

__all__ = [
    "PROTOCOLS",
    "Belief",
    "EpisodeBelief",
    "Episodes",
    "FixedBelief",
    "Protocol",
    "evaluate",
    "infer_from_data",
    "roll_out",
]
