"""The agent: all networks needed to act in a task."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from clwm_train.config import TrainConfig
from clwm_train.data.normaliser import Normaliser
from clwm_train.model.backbones import make_backbone
from clwm_train.model.context_encoder import make_task_inference
from clwm_train.model.nn import Initialiser
from clwm_train.model.policy import Policy
from clwm_train.model.world_model import WorldModel


class Agent(nn.Module):
    """Context encoder, features (raw observation or latent world model), policy and critics of S seeds.

    ``act`` and ``transition`` take the environment's scale; all else takes observations and rewards scaled by
    ``normaliser``, like the training data.

    Args:
        config: configuration; ``context.next_observation`` must be resolved, not ``auto``.
        seeds: the S seeds.
        observation_size: entries of an observation.
        action_size: entries of an action.
        parameters: [tasks, p], scaled, of the family's tasks, if the agent is given those of its task.
    """

    def __init__(
        self,
        config: TrainConfig,
        seeds: Sequence[int],
        observation_size: int,
        action_size: int,
        parameters: NDArray[np.float32] | None = None,
    ) -> None:
        super().__init__()
        if config.context.next_observation == "auto":
            raise ValueError("context.next_observation must be resolved before an agent is built")
        self.seeds = tuple(seeds)
        self.observation_size, self.action_size = observation_size, action_size
        self.next_observation = config.context.next_observation
        self.normaliser = Normaliser(observation_size, config.data.clip_observation)
        initialiser = Initialiser(seeds, config.network.init)
        transition = [observation_size, action_size, 1] + [observation_size] * self.next_observation
        self.context_encoder = make_task_inference(
            initialiser, transition, config.context, config.network, parameters
        )
        z_size = self.context_encoder.size
        self.world_model = (
            None
            if config.world_model is None
            else WorldModel(
                initialiser, observation_size, action_size, z_size, config.world_model, config.network
            )
        )
        self.sees = config.sees
        features = [observation_size] if self.sees in ("observation", "both") else []
        if self.world_model is not None and self.sees != "observation":
            features.append(self.world_model.space.size)
        self.backbone = make_backbone(initialiser, (*features, z_size), action_size, config)

    @property
    def policy(self) -> Policy:
        """The policy of the backbone."""
        return self.backbone.policy

    def features(self, observation: Tensor, code: Tensor | None = None) -> Tensor:
        """Inputs of policy and critics for scaled observations, besides z: [S, ..., feature].

        Args:
            observation: [S, ..., obs].
            code: their codes [S, ..., c], if already computed.
        """
        if self.world_model is None or self.sees == "observation":
            return observation
        if self.sees == "target-codes":
            return self.world_model.target_code(observation)
        code = self.world_model.encode(observation) if code is None else code
        return code if self.sees == "codes" else torch.cat([observation, code], -1)

    def known_z(self, tasks: Sequence[int]) -> Tensor | None:
        """z [S, tasks, z] of tasks, by their index in the family, if the agent is given it; else ``None``."""
        index = torch.tensor(tasks, dtype=torch.long, device=self.normaliser.mean.device)
        return self.context_encoder.known(index.expand(len(self.seeds), -1))

    def transition(self, observation: Tensor, action: Tensor, reward: Tensor, following: Tensor) -> Tensor:
        """Transitions in the environment's scale as the context encoder takes them.

        Args:
            observation: [S, ..., obs].
            action: [S, ..., act].
            reward: [S, ...].
            following: [S, ..., obs], the next observation.
        """
        scaled = self.normaliser
        parts = [scaled.observation(observation), action, scaled.reward(reward).unsqueeze(-1)]
        if self.next_observation:
            parts.append(scaled.observation(following))
        return torch.cat(parts, -1)

    def act(self, observation: Tensor, z: Tensor, noise: Tensor | None = None, scale: float = 1.0) -> Tensor:
        """The policy's mode in [-1, 1] or, given noise, a sampled action.

        Args:
            observation: [S, ..., obs] in the environment's scale.
            z: [S, ..., z].
            noise: [S, ..., ``policy.noise_size``], standard normal.
            scale: factor of the policy's standard deviations.
        """
        with torch.inference_mode():
            feature = self.features(self.normaliser.observation(observation))
            state = torch.cat([feature, z], -1)
            action = self.policy.mode(state) if noise is None else self.policy.sample(state, noise, scale)
        return action.clone()  # which may be changed, unlike a tensor of inference mode
