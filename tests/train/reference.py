"""The update once more: one seed, one window step at a time, the formulas of the papers as they stand there.

Slow and plain on purpose; the package's own update is held to it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from clwm_train.config import TrainConfig
from clwm_train.data.sampler import TaskBatch
from clwm_train.model.fsq import FSQ
from tests.train.helpers import code_index

Weights = Mapping[str, Tensor]


def mlp(weights: Weights, prefix: str, x: Tensor, member: int) -> Tensor:
    """Linear -> LayerNorm -> Mish per hidden layer, then Linear."""
    layer = 0
    while f"{prefix}.layers.{layer}.weight" in weights:
        x = x @ weights[f"{prefix}.layers.{layer}.weight"][member]
        x = x + weights[f"{prefix}.layers.{layer}.bias"][member, 0]
        mean = x.mean(-1, keepdim=True)
        x = (x - mean) / torch.sqrt(((x - mean) ** 2).mean(-1, keepdim=True) + 1e-5)
        x = x * weights[f"{prefix}.norms.{layer}.weight"][member, 0]
        x = x + weights[f"{prefix}.norms.{layer}.bias"][member, 0]
        x = x * torch.tanh(torch.log1p(torch.exp(x)))
        layer += 1
    return x @ weights[f"{prefix}.head.weight"][member] + weights[f"{prefix}.head.bias"][member, 0]


def infer(weights: Weights, batch: TaskBatch, seed: int) -> Tensor:
    """z [T, z]."""
    votes = [
        torch.stack([torch.tanh(mlp(weights, "context_encoder.network", x, seed)) for x in context])
        for context in batch.context[seed]
    ]
    return torch.stack([vote.mean(0) for vote in votes])


def encode(weights: Weights, fsq: FSQ, observation: Tensor, seed: int, encoder: str) -> Tensor:
    raw = mlp(weights, f"world_model.{encoder}", observation, seed)
    return fsq(raw.view(*raw.shape[:-1], -1, fsq.channels))


def world_model_loss(
    weights: Weights, config: TrainConfig, batch: TaskBatch, z: Tensor, noise: list[Tensor], seed: int
) -> Tensor:
    """Cross-entropy consistency and reward error, open-loop; ``noise`` [T, B, dimensions, codes] per step."""
    assert config.world_model is not None
    assert config.objectives.temporal_consistency is not None
    fsq = FSQ(config.world_model.levels)
    tasks, windows, horizon = batch.reward.shape[1:]
    rho = config.objectives.temporal_consistency.rho
    total, count = torch.zeros(()), 0
    for t in range(tasks):
        for b in range(windows):
            code = encode(weights, fsq, batch.observation[seed, t, b, 0], seed, "encoder")
            for h in range(horizon):
                x = torch.cat([code.flatten(), batch.action[seed, t, b, h], z[t]])
                logits = mlp(weights, "world_model.dynamics", x, seed).view(fsq.codes, -1).T
                reward = mlp(weights, "world_model.reward_head", x, seed)[0]
                following = batch.observation[seed, t, b, h + 1]
                with torch.no_grad():
                    target = code_index(fsq, encode(weights, fsq, following, seed, "target_encoder.network"))
                if batch.mask[seed, t, b, h] and not batch.terminated[seed, t, b, : h + 1].any():
                    entropy = -functional.log_softmax(logits, -1).gather(-1, target.unsqueeze(-1)).mean()
                    error = (reward - batch.reward[seed, t, b, h]) ** 2
                    total = total + rho**h * (entropy + error)
                    count += 1
                if h + 1 < horizon:
                    perturbed = (logits + noise[h][t, b]) / config.world_model.temperature
                    soft = torch.softmax(perturbed, -1)
                    hard = functional.one_hot(soft.argmax(-1), fsq.codes).float()
                    code = (hard - soft.detach() + soft) @ fsq.codebook
    return total / max(count, 1)


def iql_loss(
    weights: Weights, config: TrainConfig, batch: TaskBatch, z: Tensor, seed: int
) -> dict[str, Tensor]:
    """The three losses of IQL, transition by transition."""
    assert config.world_model is not None
    fsq, iql, policy = FSQ(config.world_model.levels), config.iql, config.policy
    assert iql is not None
    sums = {"value_loss": torch.zeros(()), "critic_loss": torch.zeros(()), "policy_loss": torch.zeros(())}
    count = 0
    for t, b, h in torch.cartesian_prod(*(torch.arange(n) for n in batch.reward.shape[1:])).tolist():
        if not batch.mask[seed, t, b, h] or (iql.transitions == "first" and h > 0):
            continue
        count += 1
        with torch.no_grad():
            state, following = (
                torch.cat([encode(weights, fsq, o, seed, "encoder").flatten(), z[t]])
                for o in batch.observation[seed, t, b, h : h + 2]
            )
        action, done = batch.action[seed, t, b, h], batch.terminated[seed, t, b, h]
        pair = torch.cat([state, action])
        v = mlp(weights, "backbone.value", state, seed)[0]
        target_q = min(mlp(weights, "backbone.target_critics.network", pair, 2 * seed + i)[0] for i in (0, 1))
        u = target_q - v
        sums["value_loss"] = sums["value_loss"] + abs(iql.expectile - float(u < 0)) * u**2
        with torch.no_grad():
            next_v = mlp(weights, "backbone.value", following, seed)[0]
            y = batch.reward[seed, t, b, h] + iql.discount * (1 - done) * next_v
            weight = min(math.exp(iql.inverse_temperature * float(u)), iql.max_weight)
        for i in (0, 1):
            q = mlp(weights, "backbone.critics", pair, 2 * seed + i)[0]
            sums["critic_loss"] = sums["critic_loss"] + (q - y) ** 2
        mean, raw = mlp(weights, "backbone.policy.network", state, seed).chunk(2)
        low, high = policy.log_std_min, policy.log_std_max
        std = torch.exp(low + (high - low) / 2 * (torch.tanh(raw) + 1))
        density = torch.distributions.Normal(torch.tanh(mean), std).log_prob(action).sum()
        sums["policy_loss"] = sums["policy_loss"] - weight * density
    return {name: value / count for name, value in sums.items()}


def two_hot(value: float, bins: int) -> NDArray[np.float64]:
    """The distribution over bins in [-10, 10] whose mean is symlog(value), on two neighbours."""
    centres = np.linspace(-10.0, 10.0, bins)
    x = float(np.clip(np.sign(value) * np.log1p(abs(value)), -10.0, 10.0))
    return np.maximum(0.0, 1.0 - np.abs(centres - x) / (centres[1] - centres[0]))


def decoded(logits: Tensor) -> Tensor:
    """The scalar that logits over bins mean."""
    mean = (torch.softmax(logits, -1) * torch.linspace(-10.0, 10.0, logits.shape[-1])).sum()
    return torch.sign(mean) * (torch.exp(mean.abs()) - 1.0)


def entropy_of(logits: Tensor, value: float) -> Tensor:
    """Cross-entropy of logits over bins with a value's two-hot distribution."""
    target = torch.from_numpy(two_hot(value, logits.shape[-1])).float()
    return -(target * functional.log_softmax(logits, -1)).sum()


def simnorm(raw: Tensor, group: int) -> Tensor:
    return torch.cat([torch.softmax(part, -1) for part in raw.split(group, -1)], -1)
