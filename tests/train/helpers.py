"""In-memory datasets and small configurations."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor

from clwm_data.families import Split, get_family
from clwm_data.store.arrays import Episode, TaskArrays
from clwm_train.config import TrainConfig
from clwm_train.methods.listing import list_methods
from clwm_train.methods.resolve import resolve
from clwm_train.model.fsq import FSQ

#: For tests that compile.
COMPILER = pytest.mark.skipif(
    not (shutil.which("g++") or os.environ.get("CXX")), reason="needs a C++ compiler"
)

#: For processes that compile into an empty cache: torch takes the processor at its word, and does not compile
#: a library for each set of instructions to try it.
TRUSTED_PROCESSOR = {"TORCHINDUCTOR_VEC_ISA_OK": "1"}

#: Small enough for hundreds of updates per second, and with few codes: compiled updates unroll them.
SMALL = (
    "batch.tasks=4",
    "batch.windows=3",
    "batch.horizon=3",
    "batch.context=5",
    "context.dim=3",
    "context.hidden=[8]",
    "context.next_observation=false",
    "world_model.latent_dim=4",
    "world_model.levels=[3,2]",
    "world_model.simnorm_group=2",
    "world_model.encoder_hidden=[8]",
    "world_model.dynamics_hidden=[8]",
    "world_model.reward_hidden=[8]",
    "steps=8",
    "log_every=3",
    "checkpoint_every=4",
)


def small_config(method: str = "spc", preset: str = "tiny", *overrides: str) -> TrainConfig:
    """A method in a size for tests."""
    has = resolve(method, preset, [text for text in overrides if text.startswith("backbone=")])
    sizes = [text for text in SMALL if has.world_model is not None or not text.startswith("world_model")]
    for name in ("club", "decoder", "task_classifier"):
        if getattr(has.objectives, name) is not None:
            sizes.append(f"objectives.{name}.hidden=[8]")
    sizes.append(f"{has.backbone}.hidden=[8]")
    return resolve(method, preset, (*sizes, *overrides))


def distinct_methods() -> list[str]:
    """Methods each of which has a part that none before it has: an objective, a backbone, a kind of world
    model, of network or of context. For tests that take long per method; together, they have all parts.
    """
    chosen, seen = [], set[str]()
    for method in list_methods():
        parts = {*method.trained_by.split(" + "), method.backbone, *method.world_model.split(", ")}
        parts.add(method.network)
        if not parts <= seen:
            chosen.append(method.name)
            seen |= parts
    return chosen


@dataclass(frozen=True)
class MemoryTask:
    """A task whose arrays are in memory."""

    index: int
    split: Split
    arrays: TaskArrays
    behaviours: tuple[str, ...] = ("random",)

    def load(self) -> TaskArrays:
        return self.arrays


def random_task(
    index: int,
    lengths: Sequence[int],
    *,
    split: Split = "train",
    terminated: Sequence[bool] | None = None,
    observation_size: int = 2,
    action_size: int = 2,
) -> MemoryTask:
    """Noise in the shape of episodes of given lengths; every value names its task, row and column."""
    rng = np.random.default_rng(index)
    ends = terminated or [False] * len(lengths)
    episodes = []
    for number, (length, ended) in enumerate(zip(lengths, ends, strict=True)):
        flags = np.zeros(length, np.bool_)
        flags[-1] = ended
        episodes.append(
            Episode(
                observation=rng.normal(size=(length + 1, observation_size)).astype(np.float32),
                action=rng.uniform(-1, 1, (length, action_size)).astype(np.float32),
                reward=rng.normal(size=length).astype(np.float32),
                terminated=flags,
                truncated=~flags & (np.arange(length) == length - 1),
                success=None,
                initial_state=np.zeros(1),
                seed=number,
                behaviour=0,
            )
        )
    return MemoryTask(index, split, TaskArrays.from_episodes(episodes))


def point_robot_tasks(
    indices: Sequence[int], noises: Sequence[float] = (0.1, 0.5, 1.0, 1.5), episodes: int = 5
) -> Mapping[int, MemoryTask]:
    """The scripted policy with noise, as the bundled manifest has it."""
    family = get_family("point-robot")
    tasks = {}
    for index in indices:
        rng = np.random.default_rng(index)
        std = np.repeat(noises, episodes)[:, None]
        lanes = len(std)
        policy = family.scripted_policy(index)
        env = family.make_vec_env([index] * lanes)
        observation, _ = env.reset(seed=0)
        observations, actions, rewards = [observation], [], []
        for _ in range(family.horizon):
            action = policy(observation, None) + std * rng.normal(size=(lanes, family.action_size))
            actions.append(np.clip(action, -1, 1).astype(np.float32))
            observation, reward, *_ = env.step(actions[-1])
            observations.append(observation)
            rewards.append(reward.astype(np.float32))
        never = np.zeros(family.horizon, np.bool_)
        last = np.arange(family.horizon) == family.horizon - 1
        tasks[index] = MemoryTask(
            index,
            family.task(index).split,
            TaskArrays.from_episodes(
                [
                    Episode(
                        observation=np.stack(observations, 1)[lane],
                        action=np.stack(actions, 1)[lane],
                        reward=np.stack(rewards, 1)[lane],
                        terminated=never,
                        truncated=last,
                        success=None,
                        initial_state=np.zeros(2),
                        seed=lane,
                        behaviour=lane // episodes,
                    )
                    for lane in range(lanes)
                ]
            ),
        )
    return tasks


def code_index(fsq: FSQ, code: Tensor) -> Tensor:
    """Index [...] of codes [..., C]: the nearest of the codebook's."""
    return torch.cdist(code.reshape(-1, fsq.channels), fsq.codebook).argmin(-1).view(code.shape[:-1])
