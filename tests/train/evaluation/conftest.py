"""An agent, and data of some tasks of the point robot."""

from __future__ import annotations

import pytest
import torch

from clwm_train.model.agent import Agent
from tests.train.helpers import MemoryTask, point_robot_tasks, small_config


@pytest.fixture(scope="module")
def tasks() -> dict[int, MemoryTask]:
    return dict(point_robot_tasks([0, 6, 12, 13], episodes=2))


@pytest.fixture(scope="module")
def agent() -> Agent:
    """An untrained agent of two seeds whose actions depend on z, with a scaling that is not the identity."""
    made = Agent(small_config("spc", "tiny", "context.next_observation=true"), [0, 1], 2, 2)
    made.normaliser.mean.copy_(torch.tensor([0.1, -0.3]))
    made.normaliser.std.copy_(torch.tensor([0.7, 1.9]))
    made.normaliser.reward_scale.fill_(0.5)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(3)))
    return made
