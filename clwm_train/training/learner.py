"""One update: representation objectives and the backbone on a meta-batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ParamSpec, TypeVar, cast

import torch
from torch import Tensor, nn

from clwm_data.compiler import BACKEND, Backend
from clwm_train.config import TrainConfig, WorldModelConfig
from clwm_train.config.train import LOGGING_KEYS
from clwm_train.data.sampler import TaskBatch
from clwm_train.kernels.streams import Drawn, Noise, Purpose, Streams
from clwm_train.model.agent import Agent
from clwm_train.model.backbones import RolloutActorCritic, Transitions
from clwm_train.model.world_model import WorldModel
from clwm_train.objectives import Objective, Representation, Sizes, make_objectives
from clwm_train.training.clipping import clip_by_seed
from clwm_train.training.descent import Descent
from clwm_train.training.graph_function import GraphFunction
from clwm_train.training.precision import use_bf16
from clwm_train.training.profile import part

Metrics = dict[str, Tensor]
Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

#: Name of the optimiser of policy and critics; the others learn the representation.
BACKBONE = "backbone"
#: Name of the optimiser of critics that learn together with the representation.
CRITICS = "critics"


class Learner(nn.Module):
    """An agent, its objectives and its optimisers.

    Losses are summed over seeds before the backward pass: parameters have a seed axis, so each seed's
    gradient depends only on its own loss.

    Args:
        config: the configuration.
        agent: the networks.
        tasks: the train tasks, by their index in the family, in the order of the batches' positions.
        compiles: compute losses and gradients as compiled graphs (:mod:`clwm_data.compiler`).
        backend: backend of torch.compile.
    """

    def __init__(
        self,
        config: TrainConfig,
        agent: Agent,
        tasks: Sequence[int],
        *,
        compiles: bool = False,
        backend: Backend = BACKEND,
    ) -> None:
        super().__init__()
        self.config = config
        self.agent = agent
        self.tasks: Tensor
        self.register_buffer("tasks", torch.tensor(tasks, dtype=torch.long), persistent=False)
        z_size = agent.context_encoder.size
        sizes = Sizes(agent.seeds, len(tasks), agent.observation_size, agent.action_size, z_size)
        objectives = make_objectives(config.objectives, config.network, sizes)
        self.objectives = nn.ModuleList(objectives)
        if config.precision == "bf16":
            use_bf16(self)
        self.optimisers = self._make_optimisers(objectives)
        self._descents = {name: Descent(optimiser) for name, optimiser in self.optimisers.items()}
        self.compiles = compiles

        settings = [
            config.model_dump(mode="json", exclude={"steps", "learning_rate_decay", *LOGGING_KEYS}),
            len(agent.seeds),
            *(agent.observation_size, agent.action_size, len(tasks)),
        ]

        def prepare(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
            if not compiles:
                return function
            return cast(Callable[Arguments, Result], GraphFunction(self, function, settings, backend))

        self._representation = prepare(self._representation_losses)
        self._features = prepare(self._features_and_z)
        self._backbone = prepare(self._backbone_losses)
        #: Configured learning rates by optimiser and parameter group.
        self._rates = {
            name: [group["lr"] for group in optimiser.param_groups]
            for name, optimiser in self.optimisers.items()
        }

    def _make_optimisers(self, objectives: Sequence[Objective]) -> dict[str, torch.optim.Optimizer]:
        config, agent = self.config, self.agent
        apart = isinstance(agent.backbone, RolloutActorCritic)
        learning = {BACKBONE: _trainable(agent.policy if apart else agent.backbone)}
        if isinstance(agent.backbone, RolloutActorCritic):
            learning[CRITICS] = _trainable(agent.backbone.critics)
        optimisers: dict[str, torch.optim.Optimizer] = {
            name: torch.optim.Adam(parameters, lr=config.learning.learning_rate, fused=True)
            for name, parameters in learning.items()
        }
        if encoder := _trainable(agent.context_encoder):
            optimisers["context_encoder"] = torch.optim.Adam(
                encoder, lr=config.context.learning_rate, fused=True
            )
        if agent.world_model is not None and config.world_model is not None:
            optimisers["world_model"] = torch.optim.AdamW(
                _world_model_groups(agent.world_model, config.world_model),
                lr=config.world_model.learning_rate,
                weight_decay=config.world_model.weight_decay,
                fused=True,
            )
        for objective in objectives:
            own = objective.make_optimiser()
            if own is not None:
                optimisers[f"objectives.{objective.name}"] = own
        return optimisers

    def update(self, batch: TaskBatch, step: int, streams: Streams, pace: float = 1.0) -> Metrics:
        """Update ``step``: always the backbone; context encoder and world model at every
        ``representation_every``-th.

        Both learn from the same forward pass of encoder and context encoder.

        Args:
            batch: the data to learn from.
            step: number of the update, from 0.
            streams: random numbers.
            pace: factor on all learning rates.

        Returns:
            metrics [S] by name.
        """
        self.set_pace(pace)
        return self.learn(batch, step, streams)

    def learn(self, batch: TaskBatch, step: int, streams: Streams) -> Metrics:
        """:meth:`update` with the learning rates as they are; this can be recorded as a CUDA graph."""
        world_model, backbone = self.agent.world_model, self.agent.backbone
        noise = self._backbone_noise(batch, step, streams)
        metrics: Metrics = {}
        if self.represents(step):
            latent_noise = self._latent_noise(batch, streams.at(Purpose.LATENT_NOISE, step))
            with self._graph_part("representation"):
                loss, features, z, metrics = self._representation(batch, latent_noise, noise)
            self._descend(loss, [name for name in self.optimisers if name != BACKBONE], "representation")
            if world_model is not None:
                with part("target networks"):
                    world_model.target_encoder.update(world_model.encoder)
        else:
            with self._graph_part("encoders"):
                features, z = self._features(batch)
        with self._graph_part(backbone.name):
            loss, backbone_metrics = self._backbone(batch, features, z, noise)
        self._descend(loss, [BACKBONE], backbone.name)
        with part("target networks"):
            backbone.update_targets()
        return metrics | backbone_metrics

    def represents(self, step: int) -> bool:
        """Whether update ``step`` trains context encoder and world model as well."""
        return bool(self.objectives) and step % self.config.representation_every == 0

    def set_pace(self, pace: float) -> None:
        """Set all learning rates to ``pace`` times the configured ones."""
        for name, rates in self._rates.items():
            for group, rate in zip(self.optimisers[name].param_groups, rates, strict=True):
                if isinstance(group["lr"], Tensor):  # a recorded graph reads it there
                    group["lr"].fill_(pace * rate)
                else:
                    group["lr"] = pace * rate

    def use_recordable_optimisers(self, device: torch.device) -> None:
        """Let the optimisers keep learning rates and counts on a GPU, where a recorded graph reads them."""
        for optimiser in self.optimisers.values():
            for group in optimiser.param_groups:
                group["lr"] = torch.tensor(group["lr"], device=device)
                group["capturable"] = True

    def _graph_part(self, name: str) -> AbstractContextManager[object]:
        """Name a compiled graph in the trace, which cannot show its parts; without one, parts have names."""
        return part(name) if self.compiles else nullcontext()

    def _latent_noise(self, batch: TaskBatch, draws: Noise) -> Noise:
        """Noise of the world model's roll-outs; drawn beforehand for a compiled graph, which cannot draw."""
        world_model = self.agent.world_model
        if not self.compiles:
            return draws
        if world_model is None:
            return Drawn([])
        _, tasks, windows, horizon, _ = batch.action.shape
        shape = world_model.prediction.noise_shape(tasks * windows)
        return Drawn([draws.uniform(*shape) for _ in range(horizon - 1)] if shape else [])

    def _backbone_noise(self, batch: TaskBatch, step: int, streams: Streams) -> Tensor | None:
        size = self.agent.backbone.noise_size
        if not size:
            return None
        _, tasks, windows, _, _ = batch.action.shape
        draws = streams.at(Purpose.TARGET_POLICY, step)
        return draws.normal(tasks * windows, self._steps(batch), size)

    def _steps(self, batch: TaskBatch) -> int:
        """Steps of each window that policy and critics learn from."""
        return batch.action.shape[-2] if self.config.learning.transitions == "all" else 1

    def _representation_losses(
        self, batch: TaskBatch, noise: Noise, backbone_noise: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor, Metrics]:
        """Sum of the objectives [S], features and z (without gradient), and metrics."""
        with part("context encoder"):
            votes = self._votes(batch)
            z = votes.mean(-2)
        features, first = self._encode(batch.observation)
        critic_error = self._critic_error(batch, features, z.detach(), backbone_noise)
        inputs = Representation(batch, votes, z, self.agent.world_model, first, noise, critic_error)
        metrics: Metrics = {}
        total = torch.zeros(len(self.agent.seeds), device=z.device)
        for objective in self.objectives:
            with part(str(objective.name).replace("_", " ")):
                loss, own = objective(inputs)
            total = total + loss
            # Not |=, which torch 2.6 cannot compile.
            metrics.update({f"{objective.name}/{name}": value for name, value in own.items()})
        return total, features, z.detach(), metrics

    def _votes(self, batch: TaskBatch) -> Tensor:
        """Embedding of each context transition: [S, T, K, z]; of one (K = 1) if z is given to the agent."""
        encoder = self.agent.context_encoder
        known = encoder.known(self.tasks[batch.task])
        return encoder.embed(batch.context) if known is None else known.unsqueeze(-2)

    def _encode(self, observation: Tensor) -> tuple[Tensor, Tensor | None]:
        """Features [S, T, B, H + 1, feature] without gradient and, if there is a world model, the code of
        each window's first observation with gradient.
        """
        agent, world_model = self.agent, self.agent.world_model
        with part("encoder"):
            if world_model is None:
                return agent.features(observation), None
            first = world_model.encode(observation[..., :1, :])
            if agent.sees in ("observation", "target-codes"):
                return agent.features(observation), first.squeeze(-2)
            with torch.no_grad():
                later = world_model.encode(observation[..., 1:, :])
            code = torch.cat([first.detach(), later], -2)
            return agent.features(observation, code), first.squeeze(-2)

    def _features_and_z(self, batch: TaskBatch) -> tuple[Tensor, Tensor]:
        """Features and z, without gradient."""
        with torch.no_grad():
            with part("context encoder"):
                z = self._votes(batch).mean(-2)
            with part("encoder"):
                return self.agent.features(batch.observation), z

    def _backbone_losses(
        self, batch: TaskBatch, features: Tensor, z: Tensor, noise: Tensor | None
    ) -> tuple[Tensor, Metrics]:
        backbone = self.agent.backbone
        with part(backbone.name):
            loss, metrics = backbone.losses(self._transitions(batch, features, z), noise)
        return loss, {f"{backbone.name}/{name}": value for name, value in metrics.items()}

    def _transitions(self, batch: TaskBatch, features: Tensor, z: Tensor) -> Transitions:
        """The windows [S, T x B, ...] as policy and critics see them."""
        steps = self._steps(batch)
        z = z[:, :, None, None, :].expand(*features.shape[:-1], -1)
        state = torch.cat([features, z], -1)[..., : steps + 1, :]
        windows = [
            tensor[:, :, :, :steps] for tensor in (batch.action, batch.reward, batch.terminated, batch.mask)
        ]
        return Transitions(*(tensor.flatten(1, 2) for tensor in (state, *windows)))

    def _critic_error(
        self, batch: TaskBatch, features: Tensor, z: Tensor, noise: Tensor | None
    ) -> Callable[[Tensor], Tensor] | None:
        """See :class:`Representation`."""
        backbone = self.agent.backbone
        if not isinstance(backbone, RolloutActorCritic) or noise is None:
            return None
        transitions = self._transitions(batch, features, z)

        def error(state: Tensor) -> Tensor:
            with part("critics"):
                of_windows = backbone.critic_error(state.flatten(1, 2), transitions, noise)
                return of_windows.view(state.shape[:-1])

        return error

    def _descend(self, loss: Tensor, parts: Sequence[str], what: str) -> None:
        with part(f"{what} backward"):
            for name in parts:
                self._descents[name].clear()
            loss.sum().backward()  # type: ignore[no-untyped-call]
        with part("optimisers"):
            if self.config.max_gradient_norm is not None:
                groups = (group for name in parts for group in self.optimisers[name].param_groups)
                parameters = (parameter for group in groups for parameter in group["params"])
                clip_by_seed(parameters, len(self.agent.seeds), self.config.max_gradient_norm)
            for name in parts:
                self._descents[name].step()


def _world_model_groups(model: WorldModel, config: WorldModelConfig) -> list[dict[str, Any]]:
    """The parameter groups of a world model's optimiser: the encoder, and the rest."""
    encoder = _trainable(model.encoder)
    rest = [parameter for name, parameter in model.named_parameters() if not name.startswith("encoder.")]
    return [
        {"params": encoder, "lr": config.encoder_rate * config.learning_rate},
        {"params": [parameter for parameter in rest if parameter.requires_grad]},
    ]


def _trainable(module: nn.Module) -> list[nn.Parameter]:
    return [parameter for parameter in module.parameters() if parameter.requires_grad]
