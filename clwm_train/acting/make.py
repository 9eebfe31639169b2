"""Who acts in an evaluation."""

from __future__ import annotations

from clwm_train.acting.actor import Actor, PolicyActor
from clwm_train.acting.planner import MPPI, PlannerConfig
from clwm_train.model.agent import Agent


def make_actor(
    agent: Agent, planner: PlannerConfig | None = None, seed: int = 0, noise: float = 0.0
) -> Actor:
    """Who acts in an evaluation: the agent's policy (with noise), or MPPI with its world model.

    Raises:
        ClwmError: a planner is wanted, and the agent has no world model.
        ValueError: noise of the policy is wanted where a planner acts.
    """
    if planner is not None and noise:
        raise ValueError("noise is the policy's, and the planner acts")
    return PolicyActor(agent, noise, seed) if planner is None else MPPI(agent, planner, seed)
