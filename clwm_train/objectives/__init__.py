"""Objectives that train the context encoder and the world model; a method is a weighted list of them."""

from __future__ import annotations

from clwm_train.config import NetworkConfig, ObjectivesConfig
from clwm_train.objectives.base import Objective, Representation, Sizes
from clwm_train.objectives.club import Club
from clwm_train.objectives.decoder import Decoder
from clwm_train.objectives.focal import Focal
from clwm_train.objectives.infonce import InfoNCE
from clwm_train.objectives.l2 import L2
from clwm_train.objectives.task_classifier import TaskClassifier
from clwm_train.objectives.temporal_consistency import TemporalConsistency

__all__ = [
    "L2",
    "LABELS",
    "Club",
    "Decoder",
    "Focal",
    "InfoNCE",
    "Objective",
    "Representation",
    "Sizes",
    "TaskClassifier",
    "TemporalConsistency",
    "make_objectives",
]

#: Labels of objectives in tables, by their key in the configuration.
LABELS = {
    objective.name: objective.label
    for objective in (TemporalConsistency, InfoNCE, Focal, L2, Club, Decoder, TaskClassifier)
}


def make_objectives(config: ObjectivesConfig, network: NetworkConfig, sizes: Sizes) -> list[Objective]:
    """The objectives that a configuration names.

    Args:
        config: weights and constants.
        network: style of the objectives' own networks.
        sizes: sizes of their inputs.
    """
    objectives: list[Objective] = []
    if config.temporal_consistency is not None:
        objectives.append(TemporalConsistency(config.temporal_consistency))
    if config.infonce is not None:
        objectives.append(InfoNCE(config.infonce, sizes))
    if config.focal is not None:
        objectives.append(Focal(config.focal))
    if config.l2 is not None:
        objectives.append(L2(config.l2))
    if config.club is not None:
        objectives.append(Club(config.club, network, sizes))
    if config.decoder is not None:
        objectives.append(Decoder(config.decoder, network, sizes))
    if config.task_classifier is not None:
        objectives.append(TaskClassifier(config.task_classifier, network, sizes))
    return objectives
