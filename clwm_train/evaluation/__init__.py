"""Evaluation: how well an agent adapts to the tasks of its family."""

from clwm_train.acting.actor import Actor, PolicyActor
from clwm_train.acting.belief import Belief, FixedBelief, Prior, RunningBelief, zero_prior
from clwm_train.acting.context import infer_from_data, infer_tasks, make_prior
from clwm_train.acting.model_belief import ModelBelief, candidate_tasks
from clwm_train.config import Protocol
from clwm_train.evaluation.gathering import Gathering, gather_context
from clwm_train.evaluation.protocols import Callbacks, Results, evaluate
from clwm_train.evaluation.rollout import Episodes, roll_out
from clwm_train.settings import CONTEXT_SIZE, PROTOCOLS, EvaluationSettings

__all__ = [
    "CONTEXT_SIZE",
    "PROTOCOLS",
    "Actor",
    "Belief",
    "Callbacks",
    "Episodes",
    "EvaluationSettings",
    "FixedBelief",
    "Gathering",
    "ModelBelief",
    "PolicyActor",
    "Prior",
    "Protocol",
    "Results",
    "RunningBelief",
    "candidate_tasks",
    "evaluate",
    "gather_context",
    "infer_from_data",
    "infer_tasks",
    "make_prior",
    "roll_out",
    "zero_prior",
]
