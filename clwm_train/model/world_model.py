"""The contextual latent world model: encoder, latent dynamics, reward head, and a termination head."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from clwm_train.config import NetworkConfig, WorldModelConfig
from clwm_train.model.fsq import FSQ
from clwm_train.model.latent_space import ContinuousSpace, DiscreteSpace, LatentSpace, SimNormSpace
from clwm_train.model.nn import MLP, EmaCopy, Initialiser
from clwm_train.model.prediction import Classification, Prediction, Regression
from clwm_train.model.scalar import make_scalar


class WorldModel(nn.Module):
    """Observation s -> code c; (c, a, z) -> prediction of the next code, the reward, and the end.

    Args:
        initialiser: draws the weights of S seeds.
        observation_size: entries of an observation.
        action_size: entries of an action.
        context_size: entries of z.
        config: sizes, latent space and consistency loss.
        network: style of the MLPs.

    Attributes:
        space: turns raw encoder outputs into codes.
        prediction: the consistency loss, and how roll-outs continue.
        reward_scale: how rewards are regressed.
        target_encoder: EMA of the encoder, which gives the targets of the loss.
    """

    def __init__(
        self,
        initialiser: Initialiser,
        observation_size: int,
        action_size: int,
        context_size: int,
        config: WorldModelConfig,
        network: NetworkConfig,
    ) -> None:
        super().__init__()
        self.space = make_space(config)
        self.prediction = make_prediction(config, self.space)
        inputs = (self.space.size, action_size, context_size)
        self.encoder = MLP(
            initialiser, [observation_size], config.encoder_hidden, self.space.size, style=network.style
        )
        self.dynamics = MLP(
            initialiser, inputs, config.dynamics_hidden, self.prediction.outputs, style=network.style
        )
        self.reward_scale = make_scalar(config.reward_bins)
        self.reward_head = MLP(
            initialiser, inputs, config.reward_hidden, self.reward_scale.outputs, style=network.style
        )
        self.reward_scale.initialise(self.reward_head)
        self.termination_head = (
            MLP(initialiser, inputs, config.reward_hidden, 1, style=network.style)
            if config.termination
            else None
        )
        self.target_encoder = EmaCopy(self.encoder, config.target_tau)

    def encode(self, observation: Tensor) -> Tensor:
        """Codes [S, ..., size] of observations [S, ..., obs]."""
        code: Tensor = self.space(self.encoder(observation))
        return code

    def target_code(self, observation: Tensor) -> Tensor:
        """Codes [S, ..., size] of observations [S, ..., obs] by the EMA encoder, without gradient."""
        with torch.no_grad():
            code: Tensor = self.space(self.target_encoder(observation))
        return code

    def encode_target(self, observation: Tensor) -> Tensor:
        """Targets of the dynamics for observations [S, ..., obs], from the EMA encoder."""
        with torch.no_grad():
            return self.prediction.target(self.target_encoder(observation))

    def predict(self, code: Tensor, action: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """Dynamics outputs [S, ..., outputs] and rewards [S, ...] for (c, a, z)."""
        inputs = self.inputs(code, action, z)
        return self.dynamics(inputs), self.reward(inputs)

    def inputs(self, code: Tensor, action: Tensor, z: Tensor) -> Tensor:
        """[c, a, z], the input of dynamics and reward head: [S, ..., inputs]."""
        return torch.cat([code, action, z], -1)

    def reward(self, inputs: Tensor) -> Tensor:
        """Rewards [S, ...] for ``inputs``."""
        return self.reward_scale.value(self.reward_head(inputs))

    def reward_error(self, inputs: Tensor, reward: Tensor) -> Tensor:
        """Error [S, ...] of the rewards predicted for ``inputs``."""
        return self.reward_scale.error(self.reward_head(inputs), reward)

    def termination(self, inputs: Tensor) -> Tensor | None:
        """Logits [S, ...] that the steps of ``inputs`` end the episode; ``None``: it is not predicted."""
        if self.termination_head is None:
            return None
        logit: Tensor = self.termination_head(inputs)
        return logit.squeeze(-1)

    def continuation(self, code: Tensor, action: Tensor, z: Tensor) -> Tensor:
        """Probability [S, ...] that the episode goes on after (c, a, z); 1 if it is not predicted."""
        logit = self.termination(self.inputs(code, action, z))
        return code.new_ones(code.shape[:-1]) if logit is None else torch.sigmoid(-logit)


def make_space(config: WorldModelConfig) -> LatentSpace:
    """The latent space that a configuration names."""
    match config.latent:
        case "continuous":
            return ContinuousSpace(config.latent_dim)
        case "simnorm":
            return SimNormSpace(config.latent_dim, config.simnorm_group)
        case "discrete":
            return DiscreteSpace(config.latent_dim, FSQ(config.levels, config.latent_dim))


def make_prediction(config: WorldModelConfig, space: LatentSpace) -> Prediction:
    """The consistency loss that a configuration names."""
    if config.consistency == "cross-entropy":
        if not isinstance(space, DiscreteSpace):
            raise ValueError("the cross-entropy needs a discrete latent space")
        return Classification(space, config.temperature)
    return Regression(space, config.consistency)
