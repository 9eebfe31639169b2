"""What critics and policy say about stored transitions, which needs no environment.

None of these numbers is a return of the agent. Critics that overestimate look good here; an agent is measured
by acting (``clwm eval``). They show how an agent that adapted to a held-out task judges its actions:

- ``value``: Q(s, a, z) of the data's actions: the lowest critic's, or the mean of the critics of ``tdmpc2``;
- ``policy_value``: the same, of the policy's actions without noise;
- ``data_return``: the discounted rewards that followed in the data, up to the end of the episode, which cuts
  off what a truncated episode would have gone on to get;
- ``log_likelihood``: log pi(a | s, z) of the data's actions, in nats;
- ``action_error``: squared distance of the policy's action from the data's, per entry.

Values are in the reward's own scale. All are means over transitions, then over tasks; z is inferred from
transitions of the same task's data.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from clwm_data.families import Split
from clwm_train.analysis.codes import context_z
from clwm_train.analysis.findings import OffPolicy
from clwm_train.analysis.open_loop import CONTEXT
from clwm_train.data.task_data import TaskData
from clwm_train.kernels.streams import Purpose, derive
from clwm_train.model.agent import Agent
from clwm_train.model.backbones.base import ActorCritic

#: Transitions per task.
TRANSITIONS = 256


@torch.no_grad()
def compare_off_policy(agent: Agent, data: TaskData, split: Split, *, seed: int = 0) -> list[OffPolicy]:
    """The numbers above for the tasks of a split.

    Args:
        agent: agent of S seeds.
        data: data, scaled like the agent's training data.
        split: a split that has tasks.
        seed: seed of transitions and contexts.

    Returns:
        one for each seed.
    """
    chosen, contexts = _draw(data, split, seed)  # [T, n], [T, CONTEXT]
    device = agent.normaliser.mean.device
    rows = torch.from_numpy(chosen).to(data.device)
    z = context_z(agent, data, contexts)  # [S, T, z]
    observation = data.observation[data.observation_row(rows)].to(device)
    action = data.action[rows].to(device)
    seeds = len(agent.seeds)
    feature = agent.features(observation.expand(seeds, *observation.shape))
    state = torch.cat([feature, z.unsqueeze(2).expand(-1, -1, rows.shape[1], -1)], -1)
    action = action.expand(seeds, *action.shape)
    mode = agent.policy.mode(state)
    columns: dict[str, Tensor] = {"action_error": (mode - action).square().mean(-1)}
    if agent.policy.stochastic:
        columns["log_likelihood"] = agent.policy.log_prob(state, action)
    if isinstance(agent.backbone, ActorCritic):
        scale = float(agent.normaliser.reward_scale)
        for name, judged in (("value", action), ("policy_value", mode)):
            columns[name] = agent.backbone.action_value(state, judged) / scale
        returns = returns_to_go(data, chosen, agent.backbone.discount) / scale
        columns["data_return"] = torch.from_numpy(returns).expand(seeds, *returns.shape)
    means = {name: column.double().mean((1, 2)).tolist() for name, column in columns.items()}
    return [OffPolicy(**{name: values[row] for name, values in means.items()}) for row in range(seeds)]


def returns_to_go(data: TaskData, transitions: NDArray[np.int64], discount: float) -> NDArray[np.float64]:
    """Discounted sums of the scaled rewards from transitions [...] to the ends of their episodes, [...]."""
    reward = data.reward.cpu().numpy()
    starts = data.episode_start.cpu().numpy()
    ends = starts + data.episode_length.cpu().numpy()
    sums = np.empty(transitions.shape)
    for index in np.ndindex(transitions.shape):
        first = int(transitions[index])
        end = int(ends[np.searchsorted(starts, first, side="right") - 1])
        sums[index] = reward[first:end].astype(np.float64) @ discount ** np.arange(end - first)
    return sums


def _draw(data: TaskData, split: Split, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Transitions [T, n] and contexts [T, CONTEXT] of the tasks of a split, drawn with replacement."""
    chosen, contexts = [], []
    for position in data.positions(split):
        first, last = data.first_transition[position : position + 2].tolist()
        # A stream per task: it does not depend on which other tasks have data.
        generator = np.random.default_rng(derive(seed, Purpose.EVALUATION, 3, data.tasks[position]))
        chosen.append(generator.integers(first, last, TRANSITIONS))
        contexts.append(generator.integers(first, last, CONTEXT))
    return np.stack(chosen), np.stack(contexts)
