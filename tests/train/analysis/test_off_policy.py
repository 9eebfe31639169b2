"""What critics and policy say about data: tasks of a single transition, computed by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from clwm_train.analysis.off_policy import look_off_policy
from clwm_train.data.task_data import load_task_data
from clwm_train.model.agent import Agent
from clwm_train.model.backbones.base import ActorCritic
from tests.train.helpers import random_task, small_config
from tests.train.reference import decoded, mlp
from tests.train.training.test_learner import disturb


@pytest.mark.parametrize("method", ["spc", "focal-ln", "tdmpc2"])
def test_values_are_the_critics_in_the_rewards_scale(method: str) -> None:
    config = small_config(method, "tiny")
    data = load_task_data(
        {0: random_task(0, [5]), 1: random_task(1, [1], split="id"), 2: random_task(2, [1], split="id")},
        config.data,
    )
    agent = Agent(config, [3, 4], 2, 2)
    agent.normaliser.load_state_dict(data.normaliser.state_dict())
    disturb(agent)
    assert isinstance(agent.backbone, ActorCritic)
    weights = {name: p.detach() for name, p in agent.named_parameters()}
    seen = look_off_policy(agent, data, "id")
    for seed in (0, 1):
        values = []
        for row in (5, 6):
            observation, action = data.observation[data.observation_row(torch.tensor(row))], data.action[row]
            parts = [observation, action, data.reward[row : row + 1]]
            if agent.next_observation:
                parts.append(data.observation[data.observation_row(torch.tensor(row)) + 1])
            z = torch.tanh(mlp(weights, "context_encoder.network", torch.cat(parts), seed))
            feature = agent.features(observation.expand(2, -1))[seed]
            pair = torch.cat([feature, z, action])
            copies = agent.backbone.critics.copies
            outputs = [mlp(weights, "backbone.critics", pair, copies * seed + copy) for copy in range(copies)]
            if method == "tdmpc2":
                values.append(np.mean([float(decoded(output)) for output in outputs]))
            else:
                values.append(min(float(output[0]) for output in outputs))
        expected = np.mean(values) / float(agent.normaliser.reward_scale)
        assert seen[seed].value == pytest.approx(expected, rel=1e-3, abs=1e-4)
