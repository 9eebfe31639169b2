"""One update: representation objectives and IQL on a meta-batch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from clwm_train.agent import Agent
from clwm_train.config import TrainConfig
from clwm_train.objectives import Objective, Representation, Sizes, make_objectives
from clwm_train.precision import use_bf16
from clwm_train.profile import part
from clwm_train.sampler import TaskBatch
from clwm_train.streams import Purpose, RandomStreams

Metrics = dict[str, Tensor]

#: Name of the optimiser of policy and critics; the others learn the representation.
IQL = "iql"


class Learner(nn.Module):
    """An agent, its objectives and its optimisers.

    Losses are summed over seeds before the backward pass: parameters carry the seed axis, so no seed's
    gradient contains another's.

    Args:
        config: the configuration.
        agent: the networks.
        tasks: number of train tasks.
    """

    def __init__(self, config: TrainConfig, agent: Agent, tasks: int) -> None:
        super().__init__()
        self.config = config
        self.agent = agent
        sizes = Sizes(agent.seeds, tasks, agent.observation_size, agent.action_size, config.context.dim)
        objectives = make_objectives(config.objectives, config.network, sizes)
        self.objectives = nn.ModuleList(objectives)
        if config.precision == "bf16":
            use_bf16(self)
        self.optimisers = self._make_optimisers(objectives)
        #: Learning rates as configured, by optimiser and parameter group.
        self._rates = {
            name: [group["lr"] for group in optimiser.param_groups]
            for name, optimiser in self.optimisers.items()
        }

    def _make_optimisers(self, objectives: Sequence[Objective]) -> dict[str, torch.optim.Optimizer]:
        config, agent = self.config, self.agent
        optimisers: dict[str, torch.optim.Optimizer] = {
            "context_encoder": torch.optim.Adam(
                _trainable(agent.context_encoder), lr=config.context.learning_rate, fused=True
            ),
            IQL: torch.optim.Adam(_trainable(agent.iql), lr=config.iql.learning_rate, fused=True),
        }
        if agent.world_model is not None and config.world_model is not None:
            optimisers["world_model"] = torch.optim.AdamW(
                _trainable(agent.world_model),
                lr=config.world_model.learning_rate,
                weight_decay=config.world_model.weight_decay,
                fused=True,
            )
        for objective in objectives:
            own = objective.make_optimiser()
            if own is not None:
                optimisers[f"objectives.{objective.name}"] = own
        return optimisers

    def update(self, batch: TaskBatch, step: int, streams: RandomStreams, pace: float = 1.0) -> Metrics:
        """Iteration ``step``: IQL always, context encoder and world model every ``representation_every``-th.

        Both learn from the same forward pass of encoder and context encoder.

        Args:
            batch: what to learn from.
            step: number of the iteration, from 0.
            streams: of the latent noise.
            pace: factor of all learning rates.

        Returns:
            figures [S] by name.
        """
        represent = step % self.config.representation_every == 0
        self._set_learning_rates(pace)
        with torch.set_grad_enabled(represent), part("context encoder"):
            votes = self.agent.context_encoder.embed(batch.context)
            z = votes.mean(-2)
        features, first = self._encode(batch.observation, represent)
        metrics: Metrics = {}
        if represent:
            noise = streams.at(Purpose.LATENT_NOISE, step)
            metrics |= self._update_representation(
                Representation(batch, votes, z, self.agent.world_model, first, noise)
            )
        return metrics | self._update_iql(batch, features, z.detach())

    def _set_learning_rates(self, pace: float) -> None:
        for name, rates in self._rates.items():
            for group, rate in zip(self.optimisers[name].param_groups, rates, strict=True):
                group["lr"] = pace * rate

    def _encode(self, observation: Tensor, represent: bool) -> tuple[Tensor, Tensor | None]:
        """Features [S, T, B, H + 1, feature] without gradient, and, where a world model is to learn, the
        first of each window with gradient.
        """
        agent = self.agent
        with part("encoder"):
            if not represent or agent.world_model is None:
                with torch.no_grad():
                    return agent.features(observation), None
            first = agent.features(observation[..., :1, :])
            with torch.no_grad():
                later = agent.features(observation[..., 1:, :])
            return torch.cat([first.detach(), later], -2), first.squeeze(-2)

    def _update_representation(self, representation: Representation) -> Metrics:
        metrics: Metrics = {}
        total = torch.zeros(len(self.agent.seeds), device=representation.z.device)
        for objective in self.objectives:
            with part(str(objective.name).replace("_", " ")):
                loss, figures = objective(representation)
            total = total + loss
            metrics |= {f"{objective.name}/{name}": figure for name, figure in figures.items()}
        parts = [name for name in self.optimisers if name != IQL]
        self._descend(total, parts, "representation")
        if self.agent.world_model is not None:
            with part("target networks"):
                self.agent.world_model.target_encoder.update(self.agent.world_model.encoder)
        return metrics

    def _update_iql(self, batch: TaskBatch, features: Tensor, z: Tensor) -> Metrics:
        steps = batch.action.shape[-2] if self.config.iql.transitions == "all" else 1
        z = z[:, :, None, None, :].expand(*features.shape[:-1], -1)
        state = torch.cat([features, z], -1)[..., : steps + 1, :]
        windows = [
            tensor[:, :, :, :steps] for tensor in (batch.action, batch.reward, batch.terminated, batch.mask)
        ]
        iql = self.agent.iql
        with part("iql"):
            loss, figures = iql.losses(*(tensor.flatten(1, 2) for tensor in (state, *windows)))
        self._descend(loss, [IQL], "iql")
        with part("target networks"):
            iql.target_critics.update(iql.critics)
        return {f"iql/{name}": figure for name, figure in figures.items()}

    def _descend(self, loss: Tensor, parts: Sequence[str], what: str) -> None:
        with part(f"{what} backward"):
            for name in parts:
                self.optimisers[name].zero_grad(set_to_none=True)
            loss.sum().backward()  # type: ignore[no-untyped-call]
        with part("optimisers"):
            for name in parts:
                self.optimisers[name].step()


def _trainable(module: nn.Module) -> Iterable[nn.Parameter]:
    return [parameter for parameter in module.parameters() if parameter.requires_grad]
