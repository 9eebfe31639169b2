"""SPC's update the straightforward way, in the published style: what the package's own update is held to.

One seed. Separate ``torch.nn`` networks; both frames of every step are encoded; codes are one-hot vectors
times the codebook; ``F.gumbel_softmax`` and ``F.cross_entropy`` step by step; batches are drawn task by task
from one tensor of rows [s, a, r, s', terminated] per task. Written from the equations, for reading:
docs/training.md says what is decided where published code differs.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, product

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from clwm_data.store.arrays import TaskArrays
from clwm_train.config import BatchConfig, TrainConfig
from clwm_train.model.agent import Agent
from clwm_train.model.backbones import IQL
from clwm_train.model.nn import MLP

#: Widens the range that FSQ bounds to.
FSQ_MARGIN = 1e-3

GumbelSoftmax = Callable[..., Tensor]


@dataclass(frozen=True)
class Batch:
    """T tasks, B windows of H steps, K context transitions of one seed.

    ``task`` [T]; ``context`` [T, K, x]; ``observation`` and ``following`` [T, B, H, obs]; ``action``
    [T, B, H, act]; ``reward``, ``terminated`` and ``mask`` (0 for padding) [T, B, H].
    """

    task: Tensor
    context: Tensor
    observation: Tensor
    following: Tensor
    action: Tensor
    reward: Tensor
    terminated: Tensor
    mask: Tensor

    def to(self, device: str) -> Batch:
        """The same elsewhere."""
        return Batch(**{name: value.to(device) for name, value in vars(self).items()})


def mlp(inputs: int, hidden: Sequence[int], outputs: int) -> nn.Sequential:
    """Linear -> LayerNorm -> Mish per hidden layer, then Linear; truncated normal weights, zero biases."""
    layers: list[nn.Module] = []
    for size in hidden:
        layers += [nn.Linear(inputs, size), nn.LayerNorm(size), nn.Mish()]
        inputs = size
    network = nn.Sequential(*layers, nn.Linear(inputs, outputs))
    for layer in network:
        if isinstance(layer, nn.Linear):
            nn.init.trunc_normal_(layer.weight, std=0.02, a=-0.04, b=0.04)
            nn.init.zeros_(layer.bias)
    return network


class FSQ(nn.Module):
    """Finite scalar quantisation with a straight-through gradient: [..., channels] -> code and index."""

    def __init__(self, levels: Sequence[int]) -> None:
        super().__init__()
        self.levels = tuple(levels)
        codes = [
            [(digit - level // 2) / (level // 2) for digit, level in zip(digits[::-1], levels, strict=True)]
            for digits in product(*(range(level) for level in reversed(levels)))
        ]
        self.register_buffer("codebook", torch.tensor(codes))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        code, index, basis = [], torch.zeros(x.shape[:-1], dtype=torch.int64, device=x.device), 1
        for channel, level in enumerate(self.levels):
            half = (level - 1) * (1 + FSQ_MARGIN) / 2
            offset = 0.5 if level % 2 == 0 else 0.0
            bounded = torch.tanh(x[..., channel] + math.atanh(offset / half)) * half - offset
            rounded = bounded + (bounded.round() - bounded).detach()
            code.append(rounded / (level // 2))
            index = index + (rounded.detach().long() + level // 2) * basis
            basis *= level
        return torch.stack(code, -1), index


class Reference(nn.Module):
    """SPC of one seed: networks, losses and optimisers."""

    def __init__(self, config: TrainConfig, observation_size: int, action_size: int, tasks: int) -> None:
        super().__init__()
        assert config.world_model is not None
        self.config, model, learning = config, config.world_model, config.learning
        self.fsq = FSQ(model.levels)
        self.codes, self.channels = math.prod(model.levels), len(model.levels)
        z, size = config.context.dim, model.latent_dim * self.channels
        transition = observation_size + action_size + 1
        transition += observation_size * bool(config.context.next_observation)
        self.context_encoder = mlp(transition, config.context.hidden, z)
        self.encoder = mlp(observation_size, model.encoder_hidden, size)
        self.dynamics = mlp(size + action_size + z, model.dynamics_hidden, model.latent_dim * self.codes)
        self.reward = mlp(size + action_size + z, model.reward_hidden, 1)
        self.policy = mlp(size + z, learning.hidden, 2 * action_size)
        self.value = mlp(size + z, learning.hidden, 1)
        self.critics = nn.ModuleList(mlp(size + z + action_size, learning.hidden, 1) for _ in range(2))
        self.target_encoder = copy.deepcopy(self.encoder).requires_grad_(False)
        self.target_critics = copy.deepcopy(self.critics).requires_grad_(False)
        self.mean: dict[int, Tensor] = {}
        self.tasks = tasks
        iql = chain(self.policy.parameters(), self.value.parameters(), self.critics.parameters())
        world_model = chain(self.encoder.parameters(), self.dynamics.parameters(), self.reward.parameters())
        self.optimisers = {
            "context_encoder": torch.optim.Adam(
                self.context_encoder.parameters(), lr=config.context.learning_rate
            ),
            "world_model": torch.optim.AdamW(
                world_model, lr=model.learning_rate, weight_decay=model.weight_decay
            ),
            "iql": torch.optim.Adam(iql, lr=learning.learning_rate),
        }

    def encode(self, encoder: nn.Module, observation: Tensor) -> tuple[Tensor, Tensor]:
        """Codes [..., dimensions * channels] and their indices [..., dimensions]."""
        raw = encoder(observation)
        code, index = self.fsq(raw.reshape(*raw.shape[:-1], -1, self.channels))
        return code.flatten(-2), index

    def update(
        self, batch: Batch, *, represent: bool, gumbel_softmax: GumbelSoftmax = functional.gumbel_softmax
    ) -> dict[str, float]:
        """One iteration; ``represent`` trains world model and context encoder as well."""
        z = torch.tanh(self.context_encoder(batch.context)).mean(1)
        code = self.encode(self.encoder, batch.observation)[0]
        following = self.encode(self.encoder, batch.following)[0]
        figures: dict[str, Tensor] = {}
        if represent:
            consistency, reward = self.temporal_consistency(batch, code[:, :, 0], z, gumbel_softmax)
            contrast = self.infonce(z, batch.task)
            term, contrast_weight = (
                self.config.objectives.temporal_consistency,
                self.config.objectives.infonce,
            )
            assert term is not None
            assert contrast_weight is not None
            loss = term.weight * (consistency + term.reward_weight * reward)
            self.descend(loss + contrast_weight.weight * contrast, ["context_encoder", "world_model"])
            assert self.config.world_model is not None
            ema(self.target_encoder, self.encoder, self.config.world_model.target_tau)
            figures |= {"consistency": consistency, "reward": reward, "infonce": contrast}
        losses = self.iql(batch, code.detach(), following.detach(), z.detach())
        self.descend(torch.stack(list(losses.values())).sum(), ["iql"])
        assert self.config.iql is not None
        ema(self.target_critics, self.critics, self.config.iql.target_tau)
        return {name: value.item() for name, value in {**figures, **losses}.items()}

    def temporal_consistency(
        self, batch: Batch, code: Tensor, z: Tensor, gumbel_softmax: GumbelSoftmax
    ) -> tuple[Tensor, Tensor]:
        """Cross-entropy and reward error of an open-loop roll-out from ``code`` [T, B, code]."""
        term, model = self.config.objectives.temporal_consistency, self.config.world_model
        assert term is not None
        assert model is not None
        horizon = batch.action.shape[2]
        context = z.unsqueeze(1).expand(-1, code.shape[1], -1)
        weight = batch.mask * (1 - batch.terminated).cumprod(-1)
        consistency = reward = torch.zeros((), device=z.device)
        for t in range(horizon):
            x = torch.cat([code, batch.action[:, :, t], context], -1)
            logits = self.dynamics(x).reshape(*x.shape[:-1], -1, self.codes)
            with torch.no_grad():
                target = self.encode(self.target_encoder, batch.following[:, :, t])[1]
            error = functional.cross_entropy(logits.movedim(-1, 1), target, reduction="none").mean(-1)
            square = (self.reward(x).squeeze(-1) - batch.reward[:, :, t]) ** 2
            consistency = consistency + term.rho**t * (weight[:, :, t] * error).sum()
            reward = reward + term.rho**t * (weight[:, :, t] * square).sum()
            if t + 1 < horizon:
                one_hot = gumbel_softmax(logits, tau=model.temperature, hard=True)
                code = (one_hot @ self.fsq.codebook).flatten(-2)
        return consistency / weight.sum().clamp(min=1), reward / weight.sum().clamp(min=1)

    def infonce(self, z: Tensor, task: Tensor) -> Tensor:
        """Cross-entropy of each task's mean z among the running means of all tasks seen so far."""
        config = self.config.objectives.infonce
        assert config is not None
        present = sorted(set(task.tolist()))
        query = {i: z[task == i].mean(0) for i in present}
        for i in present:
            new = query[i].detach()
            self.mean[i] = torch.lerp(self.mean[i], new, config.tau) if i in self.mean else new
        known = sorted(self.mean)
        keys = torch.stack([self.mean[i] for i in known])
        losses = []
        for i in present:
            logits = -torch.linalg.vector_norm(query[i] - keys, dim=-1) / config.radius
            losses.append(functional.cross_entropy(logits, torch.tensor(known.index(i), device=z.device)))
        return torch.stack(losses).mean()

    def iql(self, batch: Batch, code: Tensor, following: Tensor, z: Tensor) -> dict[str, Tensor]:
        """Expectile regression of V, both critics, and the advantage-weighted policy."""
        config, policy = self.config.iql, self.config.policy
        assert config is not None
        context = z[:, None, None].expand(*code.shape[:-1], -1)
        state, after = torch.cat([code, context], -1), torch.cat([following, context], -1)
        pair = torch.cat([state, batch.action], -1)
        share = batch.mask / batch.mask.sum()
        with torch.no_grad():
            target_q = torch.minimum(*(critic(pair).squeeze(-1) for critic in self.target_critics))
            backup = batch.reward + config.discount * (1 - batch.terminated) * self.value(after).squeeze(-1)
        advantage = target_q - self.value(state).squeeze(-1)
        expectile = torch.where(advantage < 0, 1 - config.expectile, config.expectile)
        value_loss = (share * expectile * advantage**2).sum()
        critic_loss = sum((share * (critic(pair).squeeze(-1) - backup) ** 2).sum() for critic in self.critics)
        mean, raw = self.policy(state).chunk(2, -1)
        log_std = policy.log_std_min + 0.5 * (policy.log_std_max - policy.log_std_min) * (torch.tanh(raw) + 1)
        density = torch.distributions.Normal(torch.tanh(mean), log_std.exp()).log_prob(batch.action).sum(-1)
        weight = (config.inverse_temperature * advantage.detach()).exp().clamp(max=config.max_weight)
        policy_loss = -(share * weight * density).sum()
        return {"value_loss": value_loss, "critic_loss": critic_loss, "policy_loss": policy_loss}

    def descend(self, loss: Tensor, parts: Iterable[str]) -> None:
        for part in parts:
            self.optimisers[part].zero_grad()
        loss.backward()
        for part in parts:
            self.optimisers[part].step()


@torch.no_grad()
def ema(target: nn.Module, source: nn.Module, tau: float) -> None:
    for its, new in zip(target.parameters(), source.parameters(), strict=True):
        its.data.mul_(1 - tau).add_(tau * new.data)


class RowSampler:
    """One tensor of rows [s, a, r, s', terminated] per task; windows and context task by task.

    Windows start anywhere inside an episode of a fixed length, as datasets without episode ends have it.
    """

    def __init__(self, tasks: Iterable[TaskArrays], config: BatchConfig, episode: int, seed: int = 0) -> None:
        self.config, self.episode = config, episode
        self.rows = [torch.from_numpy(rows(arrays)) for arrays in tasks]
        self.rng = np.random.default_rng(seed)

    def batch(self, observation_size: int, action_size: int) -> Batch:
        config = self.config
        tasks = self.rng.integers(0, len(self.rows), config.tasks)
        windows, contexts = [], []
        for task in tasks:
            data = self.rows[task]
            episode = self.rng.integers(0, len(data) // self.episode, config.windows)
            offset = self.rng.integers(0, self.episode - config.horizon + 1, config.windows)
            start = torch.from_numpy(episode * self.episode + offset)
            windows.append(data[start[:, None] + torch.arange(config.horizon)])
            contexts.append(data[torch.from_numpy(self.rng.integers(0, len(data), config.context))])
        sizes = [observation_size, action_size, 1, observation_size, 1]
        s, a, r, following, terminated = torch.stack(windows).split(sizes, -1)
        context = torch.stack(contexts)[..., : observation_size + action_size + 1]
        return Batch(
            task=torch.from_numpy(tasks),
            context=context,
            observation=s,
            following=following,
            action=a,
            reward=r.squeeze(-1),
            terminated=terminated.squeeze(-1),
            mask=torch.ones(r.shape[:-1]),
        )


def rows(arrays: TaskArrays) -> NDArray[np.float32]:
    """[N, 2 obs + act + 2]: s, a, r, s', terminated."""
    before = arrays.observation_row()
    parts = (
        arrays.observation[before],
        arrays.action,
        arrays.reward[:, None],
        arrays.observation[before + 1],
        arrays.terminated[:, None].astype(np.float32),
    )
    return np.concatenate(parts, 1)


def code_last(head: Tensor, codes: int) -> Tensor:
    """Outputs [codes * dimensions, ...] of our dynamics in the published order, [dimensions * codes, ...]."""
    return head.unflatten(0, (codes, -1)).transpose(0, 1).flatten(0, 1)


def copy_weights(reference: Reference, agent: Agent, seed: int) -> None:
    """Give the reference the weights of one seed of an agent (position along its seed axis)."""
    for ours, theirs, member in matched(reference, agent, seed):
        values = member_tensors(theirs, member, codes=reference.codes if ours is reference.dynamics else 1)
        for parameter, value in zip(ours.parameters(), values, strict=True):
            parameter.data.copy_(value)


def matched(reference: Reference, agent: Agent, seed: int) -> Iterable[tuple[nn.Module, MLP, int]]:
    """Networks of the reference, each with the agent's and its member there."""
    model, iql = agent.world_model, agent.backbone
    assert model is not None
    assert isinstance(iql, IQL)
    yield reference.context_encoder, agent.context_encoder.network, seed
    yield reference.encoder, model.encoder, seed
    yield reference.target_encoder, model.target_encoder.network, seed
    yield reference.dynamics, model.dynamics, seed
    yield reference.reward, model.reward_head, seed
    yield reference.policy, iql.policy.network, seed
    yield reference.value, iql.value, seed
    for copies, theirs in (
        (reference.critics, iql.critics),
        (reference.target_critics, iql.target_critics.network),
    ):
        for i, ours in enumerate(copies):
            yield ours, theirs, 2 * seed + i


def member_tensors(network: MLP, member: int, *, codes: int = 1, gradient: bool = False) -> Iterable[Tensor]:
    """Weights (or their gradients) of one member of a stacked MLP, in the order and shape of ``mlp``'s."""

    def of(parameter: Tensor) -> Tensor:
        if not gradient:
            return parameter.detach()[member]
        assert parameter.grad is not None
        return parameter.grad[member]

    for layer, norm in zip(network.layers, network.norms, strict=True):
        yield of(layer.weight).T
        yield of(layer.bias)[0]
        yield of(norm.weight)[0]
        yield of(norm.bias)[0]
    yield code_last(of(network.head.weight).T, codes)
    yield code_last(of(network.head.bias)[0], codes)


def as_batch(fields: Mapping[str, Tensor], seed: int) -> Batch:
    """One seed's part of a :class:`clwm_train.data.sampler.TaskBatch`."""
    own = {name: value[seed] for name, value in fields.items()}
    observation = own.pop("observation")
    return Batch(observation=observation[:, :, :-1], following=observation[:, :, 1:], **own)
