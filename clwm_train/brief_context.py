"""Beliefs about a task as they are early in an episode, for policy and critics to learn from.

At the start of a zero-shot episode nothing is known, and for a while only a few transitions of this one
episode. Training as published shows policy and critics none of this: their z comes from K transitions drawn
from all of a task's episodes. With ``context.brief_share`` above 0 that share of the windows has a belief
from the first k transitions of one episode of the task instead, k = 0, ..., K, small numbers more often
(log-uniform); z of no transition is 0. Every belief then ends in how uncertain it is, so that a z of few
transitions is not mistaken for the same z of many.
"""

from __future__ import annotations

import torch
from torch import Tensor

from clwm_train.agent import Agent
from clwm_train.sampler import Brief


@torch.no_grad()
def window_beliefs(agent: Agent, z: Tensor, context: int, brief: Brief) -> Tensor:
    """What policy and critics take each window's task to be.

    Args:
        agent: with the context encoder.
        z: [S, T, z] of whole contexts.
        context: transitions K that ``z`` is the mean of.
        brief: the episodes' beginnings, and how much of them each window knows.

    Returns:
        beliefs [S, T, B, z + 1].
    """
    votes = agent.context_encoder.embed(brief.transitions)
    count = torch.arange(1, votes.shape[-2] + 1, device=votes.device)
    means = votes.cumsum(-2) / count.unsqueeze(-1)
    means = torch.cat([torch.zeros_like(means[..., :1, :]), means], -2)  # [S, T, K + 1, z]
    index = brief.known.clamp(min=0).unsqueeze(-1).expand(-1, -1, -1, z.shape[-1])
    whole = (brief.known < 0).unsqueeze(-1)
    known = torch.where(whole, z.unsqueeze(-2), means.gather(-2, index))
    return agent.belief(known, brief.known.masked_fill(brief.known < 0, context))
