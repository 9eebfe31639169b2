"""MPPI with the contextual latent world model, after TD-MPC2 (Hansen et al. 2024, arXiv 2310.16828)."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from clwm_data.errors import InvalidInputError
from clwm_train.acting.actor import Actor
from clwm_train.acting.belief import Belief
from clwm_train.acting.planner.imagination import Scene
from clwm_train.kernels.streams import Draws, Purpose, RandomStreams, derive
from clwm_train.model.agent import Agent
from clwm_train.model.backbones.base import ActorCritic
from clwm_train.model.nn import Linear
from clwm_train.settings import PlannerConfig

#: Numbers that one layer may put out at once; lanes beyond that are planned for one chunk after another.
CHUNK = 2**25


class MPPI(Actor):
    """Plans anew at every step, from where the plan of the step before left off.

    Per step: the policy proposes a few action sequences in the world model; others are drawn from a Gaussian,
    all are valued by predicted rewards and, at the end, the critics; the Gaussian is refitted to the best of
    them, weighted by exp(temperature * value). The action is the final mean's first: no noise is added.

    Args:
        agent: with a world model, of S seeds.
        config: constants.
        seed: of the sampling; the same seed gives the same plans.

    Raises:
        InvalidInputError: the agent has no world model, no critics, or a policy that sees more than codes.
    """

    def __init__(self, agent: Agent, config: PlannerConfig, seed: int = 0) -> None:
        if agent.world_model is None:
            raise InvalidInputError(
                "the agent's method has no world model to plan with: evaluate it without --planner mppi"
            )
        if agent.sees != "codes":
            raise InvalidInputError(
                "the agent's policy sees observations, which its world model does not predict: "
                "evaluate it without --planner mppi"
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
        #: Lanes that are planned for at once.
        self._lanes = max(1, CHUNK // (len(agent.seeds) * config.samples * widest))
        self._streams = RandomStreams(agent.seeds, agent.normaliser.mean.device)
        self._seed = seed
        self._step = 0
        self._plan = torch.zeros(0)

    def begin(self, started: NDArray[np.bool_]) -> None:
        """Forget the plans of lanes [S, L] that begin an episode."""
        shape = (*started.shape, self._config.horizon, self.agent.action_size)
        device = self.agent.normaliser.mean.device
        if self._plan.shape != shape:
            self._plan = torch.zeros(shape, device=device)
        self._plan[torch.from_numpy(started).to(device)] = 0.0

    @torch.no_grad()
    def act(self, observation: Tensor, belief: Belief) -> Tensor:
        """See :class:`Actor`."""
        agent = self.agent
        code = self._world_model.encode(agent.normaliser.observation(observation))
        draws = self._streams.at(Purpose.PLANNING, derive(self._seed, self._step))
        self._step += 1
        parts = []
        for start in range(0, code.shape[1], self._lanes):
            chunk = slice(start, start + self._lanes)
            scene = Scene(self._backbone, self._world_model, code[:, chunk], belief.z[:, chunk])
            parts.append(self._refine(scene, self._plan[:, chunk], draws))
        plan = torch.cat(parts, 1)
        self._plan = torch.cat([plan[:, :, 1:], torch.zeros_like(plan[:, :, :1])], 2)
        return plan[:, :, 0]

    def _refine(self, scene: Scene, mean: Tensor, draws: Draws) -> Tensor:
        """Plans [S, L, H, act] for a scene of L lanes, from earlier ones."""
        config = self._config
        lanes, *steps = mean.shape[1:]
        proposed = scene.propose(
            draws.normal(lanes, config.policy_samples, steps[0], self._backbone.policy.noise_size)
        )
        others = config.samples - config.policy_samples
        std = torch.full_like(mean, config.max_std)
        for _ in range(config.iterations):
            drawn = mean.unsqueeze(2) + std.unsqueeze(2) * draws.normal(lanes, others, *steps)
            actions = torch.cat([proposed, drawn.clamp(-1.0, 1.0)], 2)
            value = scene.value(actions)
            best, index = value.topk(config.elites, dim=-1)
            elites = actions.gather(2, index[..., None, None].expand(-1, -1, -1, *steps))
            share = torch.softmax(config.temperature * best, -1)[..., None, None]
            mean = (share * elites).sum(2)
            spread = (share * (elites - mean.unsqueeze(2)).square()).sum(2)
            std = spread.sqrt().clamp(config.min_std, config.max_std)
        return mean
