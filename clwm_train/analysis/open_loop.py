"""Open-loop error of the world model over the horizon, given stored actions."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from clwm_data.errors import InvalidInputError
from clwm_data.families import Split
from clwm_data.pages.numbers import plural
from clwm_train.analysis.codes import context_z
from clwm_train.data.task_data import TaskData
from clwm_train.kernels.streams import Purpose, RandomStreams, derive
from clwm_train.model.agent import Agent
from clwm_train.model.world_model import WorldModel

#: Keeps the errors of collapsed codes and constant rewards finite.
SMALLEST_VARIANCE = 1e-12


@dataclass(frozen=True)
class OpenLoopError:
    """Squared errors per step, relative to the variance of the target: predicting its mean would give 1.

    Attributes:
        code: [S, H], error of the latent code after 1 ... H steps.
        reward: [S, H], error of the reward of step 1 ... H.
    """

    code: NDArray[np.float64]
    reward: NDArray[np.float64]


#: Number of transitions of a context.
CONTEXT = 600
#: Number of roll-outs of each window.
SAMPLES = 8


def tasks_with_episodes(data: TaskData, horizon: int) -> list[int]:
    """The tasks that have an episode of ``horizon`` steps."""
    length = data.episode_length.cpu().numpy()
    first = data.first_episode.cpu().numpy()
    return [
        task
        for task, (low, high) in zip(data.tasks, pairwise(first), strict=True)
        if (length[low:high] >= horizon).any()
    ]


@torch.no_grad()
def open_loop_error(
    agent: Agent, data: TaskData, split: Split, *, horizon: int = 20, windows: int = 16, seed: int = 0
) -> OpenLoopError:
    """The world model's error on windows of the tasks of a split.

    The model is rolled out from the code of a window's first observation, with the window's actions and a z
    inferred from the task's dataset. The prediction is the mean over ``SAMPLES`` roll-outs, so that a model
    that samples codes is measured by its expectation, like one that regresses to them. Codes are compared
    with those of the encoder. The run learned from the windows of the train split; those of id and ood are of
    held-out tasks. Tasks without a long enough episode are left out.

    Args:
        agent: agent with a world model.
        data: data, scaled like the agent's training data.
        split: split of the tasks.
        horizon: number of steps H.
        windows: windows per task, drawn uniformly from the episodes that are long enough.
        seed: seed of windows and contexts; roll-outs use the agent's own seeds.

    Raises:
        InvalidInputError: the agent has no world model, or no episode of the split is long enough.
    """
    if agent.world_model is None:
        raise InvalidInputError("the method has no world model: open-loop errors need one")
    model = agent.world_model
    starts, contexts = _draw(data, split, horizon, windows, seed)
    rows = torch.from_numpy(starts).to(data.device).unsqueeze(-1) + torch.arange(horizon, device=data.device)
    first = data.observation_row(rows[..., :1].contiguous())
    observation = data.observation[
        torch.cat([first, first + 1 + torch.arange(horizon, device=data.device)], -1)
    ]
    seeds = len(agent.seeds)
    device = agent.normaliser.mean.device  # mapped data stay on the CPU
    observation, action, reward_seen = (
        part.to(device) for part in (observation, data.action[rows], data.reward[rows])
    )
    true = model.encode(observation.expand(seeds, *observation.shape))
    z = context_z(agent, data, contexts)[:, :, None].expand(*true.shape[:3], -1)
    code, reward = _roll(model, true[..., 0, :], action, z, RandomStreams(agent.seeds, device))
    following, rewards = true[..., 1:, :], reward_seen.expand(seeds, *rows.shape)
    return OpenLoopError(
        code=_relative(code - following, following - following.mean((1, 2, 3), keepdim=True)),
        reward=_relative((reward - rewards)[..., None], (rewards - rewards.mean())[..., None]),
    )


def _draw(
    data: TaskData, split: Split, horizon: int, windows: int, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First transitions of windows [T, windows] and contexts [T, CONTEXT] of a split's tasks that have
    episodes of ``horizon`` steps.
    """
    positions = data.positions(split)
    if not positions:
        raise InvalidInputError(f"the store holds no task of the split {split}")
    start, length = data.episode_start.cpu().numpy(), data.episode_length.cpu().numpy()
    counts = np.maximum(length - horizon + 1, 0)
    starts, contexts, longest = [], [], 0
    for position in positions:
        low, high = data.first_episode[position : position + 2].tolist()
        ends = np.cumsum(counts[low:high])
        if ends[-1] == 0:
            longest = max(longest, int(length[low:high].max()))
            continue
        # A stream per task: its windows do not depend on the other tasks.
        generator = np.random.default_rng(derive(seed, Purpose.EVALUATION, horizon, data.tasks[position]))
        window = generator.integers(ends[-1], size=windows)
        episode = np.searchsorted(ends, window, side="right")
        starts.append(start[low + episode] + ends[episode] - 1 - window)
        first, last = data.first_transition[position : position + 2].tolist()
        contexts.append(generator.integers(first, last, CONTEXT))
    if not starts:
        raise InvalidInputError(
            f"no task of the split {split} has an episode of {plural(horizon, 'step')}, the longest has "
            f"{longest}: choose a shorter horizon"
        )
    return np.stack(starts), np.stack(contexts)


def _roll(
    model: WorldModel, code: Tensor, action: Tensor, z: Tensor, streams: RandomStreams
) -> tuple[Tensor, Tensor]:
    """Mean predicted codes [S, T, B, H, size] and rewards [S, T, B, H].

    Args:
        model: model of S seeds.
        code: [S, T, B, size], initial codes.
        action: [T, B, H, act].
        z: [S, T, B, z].
        streams: random numbers.
    """

    def copies(tensor: Tensor) -> Tensor:
        return tensor.unsqueeze(3).expand(-1, -1, -1, SAMPLES, -1)

    rolled, representation = copies(code), copies(z)
    codes, rewards = [], []
    for step in range(action.shape[2]):
        executed = copies(action[:, :, step].expand(len(code), -1, -1, -1))
        output, reward = model.predict(rolled, executed, representation)
        rolled = model.prediction.advance(output, rolled, streams.at(Purpose.EVALUATION, step))
        codes.append(rolled.mean(3))
        rewards.append(reward.mean(3))
    return torch.stack(codes, 3), torch.stack(rewards, 3)


def _relative(error: Tensor, deviation: Tensor) -> NDArray[np.float64]:
    """Squared error of each step relative to the variance over all: two [S, T, B, H, size] -> [S, H]."""
    variance = deviation.double().square().sum(-1).mean((1, 2, 3)).clamp(min=SMALLEST_VARIANCE)
    relative = error.double().square().sum(-1).mean((1, 2)) / variance[:, None]
    return relative.cpu().numpy()
