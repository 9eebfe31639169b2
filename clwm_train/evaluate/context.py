"""Task representations from stored data."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from clwm_train.agent import Agent
from clwm_train.data import DataTask
from clwm_train.streams import Purpose, derive


@torch.no_grad()
def infer_from_data(agent: Agent, task: DataTask, size: int, seed: int) -> Tensor:
    """z [S, z] from transitions of a task's dataset.

    The transitions are drawn without replacement, uniformly over the dataset; a smaller dataset is used
    whole.

    Args:
        agent: the agent.
        task: with its data.
        size: number of transitions.
        seed: the same seed draws the same transitions.
    """
    arrays = task.load()
    generator = np.random.default_rng(derive(seed, Purpose.EVALUATION, task.index))
    count = min(size, arrays.transitions)
    rows = np.sort(generator.choice(arrays.transitions, count, replace=False))
    before = arrays.observation_row()[rows]
    parts = (
        arrays.observation[before],
        arrays.action[rows],
        arrays.reward[rows],
        arrays.observation[before + 1],
    )
    device = agent.normaliser.mean.device
    context = agent.transition(*(torch.from_numpy(part).to(device) for part in parts))
    z: Tensor = agent.context_encoder(context.expand(len(agent.seeds), -1, -1))
    return z
