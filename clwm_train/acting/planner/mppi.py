"""MPPI with the contextual latent world model, after TD-MPC2 (Hansen et al. 2024, arXiv 2310.16828)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from clwm_data.errors import InvalidInputError
from clwm_train.acting.actor import Actor
from clwm_train.acting.belief import Belief
from clwm_train.acting.noise import EpisodeNoise
from clwm_train.acting.planner.imagination import Scene
from clwm_train.kernels.streams import Purpose
from clwm_train.model.agent import Agent
from clwm_train.model.backbones.base import ActorCritic
from clwm_train.model.nn import Linear
from clwm_train.settings import PlannerConfig

#: Maximum entries of one layer's output; more lanes are planned for in chunks.
CHUNK = 2**25


class MPPI(Actor):
    """Plans at every step, starting from the previous step's plan.

    At each step, the policy proposes a few action sequences in the world model and others are drawn from a
    Gaussian; all are valued by predicted rewards and, at the end, by the critics; the Gaussian is refitted to
    the best of them, weighted by exp(temperature * value). The action is the first one of the final mean,
    without noise.

    Args:
        agent: agent of S seeds, with a world model.
        config: constants of the planner.
        chunk: how many numbers one layer may put out at once, to limit memory.

    Raises:
        InvalidInputError: the agent has no world model or no critics, or its policy sees anything but codes.
    """

    def __init__(self, agent: Agent, config: PlannerConfig, *, chunk: int = CHUNK) -> None:
        if agent.world_model is None:
            raise InvalidInputError(
                "the agent's method has no world model to plan with: evaluate it without --planner mppi"
            )
        if agent.sees != "codes":
            others = "codes of the target encoder" if agent.sees == "target-codes" else "observations"
            raise InvalidInputError(
                f"the agent's policy sees {others}, not the codes that plans are made of: "
                f"evaluate it without --planner mppi"
            )
        if not isinstance(agent.backbone, ActorCritic):
            raise InvalidInputError(
                f"the agent's backbone {agent.backbone.name} has no critics to value plans with: "
                f"evaluate it without --planner mppi"
            )
        self._backbone: ActorCritic = agent.backbone
        self.agent = agent
        self._config = config
        self._world_model = agent.world_model
        layers = [module for module in agent.modules() if isinstance(module, Linear)]
        widest = max((layer.weight.shape[-1] for layer in layers), default=1)
        #: Number of lanes that are planned for at once.
        self._lanes = max(1, chunk // (len(agent.seeds) * config.samples * widest))
        self._draws = EpisodeNoise(agent.seeds, Purpose.PLANNING, agent.normaliser.mean.device)
        self._plan = torch.zeros(0)

    @torch.inference_mode()
    def begin(self, started: NDArray[np.bool_], episodes: NDArray[np.int64]) -> None:
        """Drop the plans of lanes that begin an episode, see :class:`Actor`."""
        self._draws.begin(started, episodes)
        shape = (*started.shape, self._config.horizon, self.agent.action_size)
        device = self.agent.normaliser.mean.device
        if self._plan.shape != shape:
            self._plan = torch.zeros(shape, device=device)
        self._plan[torch.from_numpy(started).to(device)] = 0.0

    @torch.inference_mode()
    def act(self, observation: Tensor, belief: Belief) -> Tensor:
        """See :class:`Actor`."""
        agent = self.agent
        code = self._world_model.encode(agent.normaliser.observation(observation))
        config, steps = self._config, self._plan.shape[2:]
        proposed = self._draws.normal(config.policy_samples, steps[0], self._backbone.policy.noise_size)
        others = config.samples - config.policy_samples
        drawn = [self._draws.normal(others, *steps) for _ in range(config.iterations)]
        parts = []
        for start in range(0, code.shape[1], self._lanes):
            chunk = slice(start, start + self._lanes)
            scene = Scene(self._backbone, self._world_model, code[:, chunk], belief.z[:, chunk])
            noise = [numbers[:, chunk] for numbers in drawn]
            parts.append(self._refine(scene, self._plan[:, chunk], proposed[:, chunk], noise))
        plan = torch.cat(parts, 1)
        self._plan = torch.cat([plan[:, :, 1:], torch.zeros_like(plan[:, :, :1])], 2)
        return plan[:, :, 0]

    def _refine(self, scene: Scene, mean: Tensor, proposed: Tensor, drawn: Sequence[Tensor]) -> Tensor:
        """Plans [S, L, H, act] for a scene of L lanes, refined from initial ones.

        Args:
            scene: the situations to plan in.
            mean: [S, L, H, act], initial plans.
            proposed: [S, L, P, H, act], noise of the policy's sequences.
            drawn: for each iteration, noise [S, L, N, H, act] of the other sequences.
        """
        config = self._config
        steps = mean.shape[2:]
        from_policy = scene.propose(proposed)
        std = torch.full_like(mean, config.max_std)
        for noise in drawn:
            sampled = mean.unsqueeze(2) + std.unsqueeze(2) * noise
            actions = torch.cat([from_policy, sampled.clamp(-1.0, 1.0)], 2)
            value = scene.value(actions)
            best, index = value.topk(config.elites, dim=-1)
            elites = actions.gather(2, index[..., None, None].expand(-1, -1, -1, *steps))
            share = torch.softmax(config.temperature * best, -1)[..., None, None]
            mean = (share * elites).sum(2)
            spread = (share * (elites - mean.unsqueeze(2)).square()).sum(2)
            std = spread.sqrt().clamp(config.min_std, config.max_std)
        return mean
