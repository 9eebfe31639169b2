"""What trains the context encoder and the world model: a method is a weighted list of these."""

from __future__ import annotations

from clwm_train.config import ObjectivesConfig
from clwm_train.objectives.base import Objective, Representation
from clwm_train.objectives.focal import Focal
from clwm_train.objectives.infonce import InfoNCE
from clwm_train.objectives.temporal_consistency import TemporalConsistency

__all__ = ["Focal", "InfoNCE", "Objective", "Representation", "TemporalConsistency", "make_objectives"]


def make_objectives(config: ObjectivesConfig, *, seeds: int, tasks: int, z_size: int) -> list[Objective]:
    """The objectives that a configuration names.

    Args:
        config: weights and constants.
        seeds: S.
        tasks: number of train tasks.
        z_size: entries of z.
    """
    objectives: list[Objective] = []
    if config.temporal_consistency is not None:
        objectives.append(TemporalConsistency(config.temporal_consistency))
    if config.infonce is not None:
        objectives.append(InfoNCE(config.infonce, seeds=seeds, tasks=tasks, z_size=z_size))
    if config.focal is not None:
        objectives.append(Focal(config.focal))
    return objectives
