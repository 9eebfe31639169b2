"""Backbones: algorithms that learn values and policy from data, on states [feature, z] without gradient."""

from __future__ import annotations

from collections.abc import Sequence

from clwm_train.config import TrainConfig
from clwm_train.model.backbones.base import Backbone, RolloutActorCritic, Transitions
from clwm_train.model.backbones.bc import BehaviourCloning
from clwm_train.model.backbones.iql import IQL
from clwm_train.model.backbones.td3bc import TD3BC
from clwm_train.model.backbones.tdmpc2 import TDMPC2
from clwm_train.model.nn import Initialiser
from clwm_train.model.policy import make_policy

__all__ = [
    "IQL",
    "TD3BC",
    "TDMPC2",
    "Backbone",
    "BehaviourCloning",
    "RolloutActorCritic",
    "Transitions",
    "make_backbone",
]


def make_backbone(
    initialiser: Initialiser, inputs: Sequence[int], action_size: int, config: TrainConfig
) -> Backbone:
    """The backbone that a configuration names, with its policy.

    Args:
        initialiser: draws the weights of S seeds.
        inputs: sizes of the parts of a state, z last.
        action_size: entries of an action.
        config: configuration of policy and backbone.
    """
    network = config.network
    policy = make_policy(initialiser, inputs, action_size, config)
    if config.iql is not None:
        return IQL(initialiser, policy, inputs, action_size, config.iql, network)
    if config.td3bc is not None:
        return TD3BC(initialiser, policy, inputs, action_size, config.td3bc, network)
    if config.tdmpc2 is not None:
        return TDMPC2(initialiser, policy, inputs, action_size, config.tdmpc2, network)
    return BehaviourCloning(policy)
