"""Networks: their style, the context encoder and the world model."""

from __future__ import annotations

import math
from typing import Literal, Self

from pydantic import model_validator

from clwm_data.strict import StrictModel
from clwm_train.config.types import (
    MOST_CODES,
    Bins,
    Consistency,
    ContextSource,
    Count,
    DeepSizes,
    Init,
    Levels,
    NetworkStyle,
    Octaves,
    Rate,
    Share,
    Sizes,
    Weight,
)


class NetworkConfig(StrictModel):
    """Style of every MLP.

    Attributes:
        style: hidden layers ``layernorm-mish`` (Linear, LayerNorm, Mish) or ``relu``.
        init: ``truncated-normal-0.02`` (published), ``fan-in``, ``group-fan-in`` or ``orthogonal``; see
            :class:`clwm_train.model.nn.Initialiser`.
    """

    style: NetworkStyle = "layernorm-mish"
    init: Init = "truncated-normal-0.02"


class ContextConfig(StrictModel):
    """Where the task representation z comes from.

    Attributes:
        source: ``encoder``: inferred from context transitions; ``none``: z = 0, a lower bound in comparisons;
            ``parameters``: the task's parameters, scaled to [-1, 1], an upper bound (they set the size of z).
        dim: entries of z.
        octaves: with ``parameters``: how many octaves of their sines and cosines z has, too.
        hidden: hidden layers of the context encoder.
        next_observation: transitions include s'; ``auto``: if the family's dynamics vary.
        learning_rate: learning rate of Adam.
    """

    source: ContextSource = "encoder"
    dim: Count = 5
    octaves: Octaves = 0
    hidden: DeepSizes = (256, 256)
    next_observation: bool | Literal["auto"] = "auto"
    learning_rate: Rate = 1e-4

    @model_validator(mode="after")
    def _octaves_are_of_parameters(self) -> Self:
        if self.octaves and self.source != "parameters":
            raise ValueError(f"octaves are of parameters, and context.source is {self.source}")
        return self


class WorldModelConfig(StrictModel):
    """The latent world model; without one, policy and critics see the raw observation.

    Attributes:
        latent: ``discrete`` (FSQ), ``simnorm`` or ``continuous``.
        consistency: ``cross-entropy`` (discrete only), ``mse`` or ``cosine``.
        latent_dim: latent dimensions; a discrete one holds ``len(levels)`` channels.
        levels: FSQ levels of each channel.
        simnorm_group: entries of a SimNorm group.
        temperature: temperature of the straight-through Gumbel-softmax.
        encoder_hidden: hidden layers of the encoder.
        dynamics_hidden: hidden layers of the latent dynamics.
        reward_hidden: hidden layers of the reward head.
        reward_bins: bins of the two-hot regression of rewards; ``null``: squared error (published for SPC).
        termination: also predict whether a step ends the episode, which planning takes into account.
        target_tau: EMA rate of the target encoder; 1: the encoder itself.
        learning_rate: learning rate of AdamW.
        encoder_rate: factor on the learning rate of the encoder.
        weight_decay: weight decay of AdamW.
    """

    latent: Literal["discrete", "simnorm", "continuous"] = "discrete"
    consistency: Consistency = "cross-entropy"
    latent_dim: Count = 512
    levels: Levels = (5, 3)
    simnorm_group: Count = 8
    temperature: Rate = 1.0
    encoder_hidden: Sizes = (512,)
    dynamics_hidden: Sizes = (512, 512)
    reward_hidden: Sizes = (512, 512)
    reward_bins: Bins | None = None
    termination: bool = False
    target_tau: Share = 0.005
    learning_rate: Rate = 1e-4
    encoder_rate: Rate = 1.0
    weight_decay: Weight = 0.01

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        if math.prod(self.levels) > MOST_CODES:
            raise ValueError(
                f"levels {list(self.levels)} make {math.prod(self.levels):,} codes: at most {MOST_CODES:,}"
            )
        if self.consistency == "cross-entropy" and self.latent != "discrete":
            raise ValueError(f"consistency cross-entropy needs latent discrete, not latent {self.latent}")
        if self.latent == "simnorm" and self.latent_dim % self.simnorm_group:
            raise ValueError(
                f"latent_dim {self.latent_dim} is not a multiple of simnorm_group {self.simnorm_group}"
            )
        return self
