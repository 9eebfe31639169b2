"""Contexts, and episodes side by side that end at different times."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from clwm_data.families import get_family
from clwm_train.acting.context import RememberingTask
from clwm_train.evaluation import (
    FixedBelief,
    PolicyActor,
    RunningBelief,
    infer_from_data,
    infer_tasks,
    roll_out,
)
from clwm_train.model.agent import Agent
from tests.train.helpers import random_task

FAMILY = get_family("point-robot")


def test_contexts_are_drawn_without_replacement(agent: Agent) -> None:
    """A context as large as the dataset is the whole dataset, whatever the seed."""
    task = random_task(3, [4, 5])
    whole = [infer_from_data(agent, task, size, seed) for size, seed in ((9, 0), (9, 1), (600, 2))]
    torch.testing.assert_close(whole[0], whole[1])
    torch.testing.assert_close(whole[0], whole[2])
    assert not torch.allclose(infer_from_data(agent, task, 3, 0), whole[0])


def test_context_holds_aligned_transitions(agent: Agent) -> None:
    task = random_task(3, [4, 5])
    arrays = task.arrays
    rows = []
    for episode in arrays:
        for t in range(len(episode.reward)):
            rows.append(
                [episode.observation[t], episode.action[t], episode.reward[t], episode.observation[t + 1]]
            )
    columns = [torch.from_numpy(np.stack([row[i] for row in rows])) for i in range(4)]
    x = agent.transition(*columns)
    with torch.no_grad():
        expected = torch.stack([torch.tanh(agent.context_encoder.network(x.expand(2, -1, -1)))]).mean((0, 2))
    torch.testing.assert_close(infer_from_data(agent, task, 9, 0), expected)


def test_a_remembering_task_is_read_once_for_each_context(
    agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = random_task(3, [4, 5])
    asked = [(3, 0), (3, 1), (5, 0), (3, 0), (5, 0), (3, 1)]
    expected = [infer_from_data(agent, plain, *key) for key in asked]
    task, read = RememberingTask(plain), []
    load = type(plain).load
    monkeypatch.setattr(type(plain), "load", lambda task: [read.append(task.index), load(task)][1])
    found = [infer_from_data(agent, task, *key) for key in asked]
    assert torch.equal(infer_tasks(agent, [task, plain], 3, 1), torch.stack([expected[1]] * 2, 1))
    assert read == [3] * 4  # one more by the plain task
    assert all(map(torch.equal, found, expected))
    assert len({tuple(z.flatten().tolist()) for z in found}) == 3
    assert (task.index, task.split, task.behaviours) == (plain.index, plain.split, plain.behaviours)


class LastingEpisodes:
    """A vector environment whose lanes end after as many steps as their task's index."""

    def __init__(self, tasks: list[int]) -> None:
        self.lengths = np.array(tasks)
        self.active = np.zeros(len(tasks), np.bool_)
        self.step_number = np.zeros(len(tasks), np.int64)

    def reset(self, seed: Any, options: Any = None) -> tuple[Any, dict[str, Any]]:
        mask = np.ones_like(self.active) if options is None else options["reset_mask"]
        self.active = self.active | mask
        self.step_number[mask] = 0
        return self.observation(), {}

    def observation(self) -> Any:
        return np.repeat(self.step_number[:, None], 2, 1).astype(np.float32)

    def step(self, action: Any) -> tuple[Any, ...]:
        was = self.active.copy()
        self.step_number += was
        self.active = self.step_number < self.lengths
        observation = self.observation()
        success = was & (self.step_number == 2)
        return observation, was * 1.0, was & ~self.active, np.zeros_like(was), {"success": success}

    def close(self) -> None:
        return


class LastingFamily:
    horizon = 6
    has_success = True

    def make_vec_env(self, tasks: list[int], threads: int = 1) -> LastingEpisodes:
        return LastingEpisodes(tasks)

    def executed(self, action: np.ndarray) -> np.ndarray:
        return action


def test_ended_episodes_add_nothing(agent: Agent) -> None:
    """Lanes that end after 1, 3 and 5 steps: returns, successes, and z stops with its episode."""
    belief = RunningBelief(agent, 3)
    episodes = roll_out(PolicyActor(agent), LastingFamily(), [1, 3, 5], belief, [0, 0, 0])  # type: ignore[arg-type]
    assert episodes.returns.tolist() == [[1.0, 3.0, 5.0]] * 2
    assert episodes.lengths.tolist() == [[1, 3, 5]] * 2
    assert episodes.success is not None
    assert episodes.success.tolist() == [[False, True, True]] * 2
    assert episodes.observations.shape == (2, 3, 7, 2)
    shorter = RunningBelief(agent, 1)
    roll_out(PolicyActor(agent), LastingFamily(), [3], shorter, [0])  # type: ignore[arg-type]
    torch.testing.assert_close(belief.z[:, 1], shorter.z[:, 0])


def test_a_fixed_belief_stays(agent: Agent) -> None:
    z = torch.randn(2, 2, 3)
    belief = FixedBelief(z)
    roll_out(PolicyActor(agent), FAMILY, [0, 1], belief, [0, 0])
    assert belief.z is z
