"""Task representations of many contexts, and the true parameters of their tasks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from clwm_data.families import TaskFamily
from clwm_train.data.task_data import TaskData
from clwm_train.kernels.streams import Purpose, derive
from clwm_train.model.agent import Agent

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Codes:
    """Representations z of several contexts of every task that has data.

    Attributes:
        z: [S, T, n, z] float64.
        tasks: [T] family indices, ascending.
        splits: [T] split of each task.
    """

    z: Floats
    tasks: tuple[int, ...]
    splits: tuple[str, ...]

    def of_split(self, seed: int, split: str) -> Floats:
        """z of one seed (by position) and one split: [tasks of the split * n, z]."""
        chosen = [position for position, other in enumerate(self.splits) if other == split]
        return self.z[seed, chosen].reshape(-1, self.z.shape[-1])

    def truth(self, split: str, values: Floats) -> Floats:
        """Rows of ``values`` [index in the family, p] that belong to :meth:`of_split`: [tasks * n, p]."""
        chosen = [task for task, other in zip(self.tasks, self.splits, strict=True) if other == split]
        return np.repeat(values[chosen], self.z.shape[2], axis=0)


@torch.no_grad()
def sample_codes(agent: Agent, data: TaskData, *, contexts: int, size: int, seed: int) -> Codes:
    """Infer z from ``contexts`` contexts of ``size`` transitions of every task, drawn with replacement."""
    first = data.first_transition.cpu().numpy()
    z = []
    for task, (low, high) in zip(data.tasks, pairwise(first), strict=True):
        # A stream per task: its contexts do not depend on which other tasks have data.
        generator = np.random.default_rng(derive(seed, Purpose.EVALUATION, task))
        z.append(context_z(agent, data, generator.integers(low, high, (contexts, size))))
    return Codes(torch.stack(z, 1).double().cpu().numpy(), data.tasks, data.splits)


@torch.no_grad()
def context_z(agent: Agent, data: TaskData, transitions: NDArray[np.int64]) -> Tensor:
    """z [S, ..., z] of contexts of transitions [..., K]."""
    rows = torch.from_numpy(transitions).to(data.device)
    position = torch.searchsorted(data.first_transition, rows[..., 0].contiguous(), right=True) - 1
    known = agent.known_z(np.asarray(data.tasks)[position.flatten().cpu().numpy()].tolist())
    if known is not None:
        return known.view(len(known), *rows.shape[:-1], -1)
    # Memory-mapped data stay on the CPU.
    context = data.context(rows, next_observation=agent.next_observation).to(agent.normaliser.mean.device)
    z: Tensor = agent.context_encoder(context.expand(len(agent.seeds), *context.shape))
    return z


def parameter_values(family: TaskFamily) -> tuple[tuple[str, ...], Floats]:
    """Numbers that identify the tasks of a family: names [p] and values [index, p], in [-1, 1].

    A good policy depends on them smoothly: a direction is given by its cosine and sine.
    """
    conditioning = family.conditioning
    return conditioning.names, conditioning.vectors.astype(np.float64)


def factors_of(family: TaskFamily, tasks: Sequence[int]) -> tuple[tuple[str, ...], Floats] | None:
    """Independent factors of a family, whose values its id tasks combine in new ways.

    Args:
        family: the task family.
        tasks: the tasks that have data.

    Returns:
        names [f >= 2] and values [index in the family, f]; ``None`` if the family has no such factors.
    """
    parameters = {task.index: task.parameters for task in family.tasks}
    names = tuple(family.tasks[0].parameters)
    if any(isinstance(value, tuple) for value in family.tasks[0].parameters.values()):
        return None
    values = np.full((max(parameters) + 1, len(names)), np.nan)
    for index, task in parameters.items():
        values[index] = list(task.values())
    train = values[[task for task in tasks if family.task(task).split == "train"]]
    unseen = values[[task for task in tasks if family.task(task).split == "id"]]
    if values.shape[1] < 2 or not len(train) or not len(unseen):
        return None
    for known, new in zip(train.T, unseen.T, strict=True):
        if not 2 <= len(np.unique(known)) < len(train) or not np.isin(new, known).all():
            return None
        if len(np.unique(new)) < 2:  # nothing to score
            return None
    return names, values
