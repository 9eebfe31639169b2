"""The policy, and the backbone that trains it."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from clwm_data.strict import StrictModel
from clwm_train.config.types import Bins, Count, LogStd, Rate, Share, Sizes, Weight


class PolicyConfig(StrictModel):
    """The distribution over actions; ``policy: mixture`` is short for ``policy: {head: mixture}``.

    Attributes:
        head: ``gaussian`` (published), ``mixture`` of Gaussians, or ``deterministic`` (only with ``td3bc``);
            ``auto``: the published one of the backbone.
        components: number of Gaussians of a mixture.
        log_std_min: lower end of the log standard deviations.
        log_std_max: upper end.
    """

    head: Literal["auto", "gaussian", "mixture", "deterministic"] = "auto"
    components: Count = 5
    log_std_min: LogStd = -5.0
    log_std_max: LogStd = 2.0

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, data: Any) -> Any:
        return {"head": data} if isinstance(data, str) else data

    @model_validator(mode="after")
    def _range_is_one(self) -> Self:
        if self.log_std_min >= self.log_std_max:
            raise ValueError(f"log_std_min {self.log_std_min} is not below log_std_max {self.log_std_max}")
        return self


class BackboneConfig(StrictModel):
    """Settings of every backbone.

    Attributes:
        transitions: learn from ``all`` steps of each window, or only from the ``first``; windows then begin
            at every transition of an episode equally often.
        hidden: hidden layers of the policy, and of critics and value network, if any.
        learning_rate: learning rate of Adam.
    """

    transitions: Literal["all", "first"] = "all"
    hidden: Sizes = (256, 256)
    learning_rate: Rate = 3e-4


class ActorCriticConfig(BackboneConfig):
    """Settings of every backbone with critics.

    Attributes:
        discount: gamma.
        target_tau: EMA rate of the target networks.
    """

    discount: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.99
    target_tau: Share = 0.005


class IqlConfig(ActorCriticConfig):
    """Implicit Q-learning (Kostrikov et al. 2022).

    Attributes:
        expectile: expectile of the value loss.
        inverse_temperature: inverse temperature of the advantage weights.
        max_weight: upper bound to which advantage weights are clipped.
    """

    expectile: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.8
    inverse_temperature: Weight = 3.0
    max_weight: Rate = 100.0


class Td3BcConfig(ActorCriticConfig):
    """TD3+BC (Fujimoto & Gu 2021).

    Attributes:
        alpha: weight of the values against the distance from the data's actions.
        policy_noise: standard deviation of the noise on the target policy's actions.
        noise_clip: bound to which this noise is clipped.
    """

    alpha: Weight = 2.5
    policy_noise: Weight = 0.2
    noise_clip: Weight = 0.5


class BcConfig(BackboneConfig):
    """Behaviour cloning."""


class Tdmpc2Config(ActorCriticConfig):
    """Policy prior and critics of TD-MPC2 (Hansen et al. 2024); the defaults are the paper's, except for the
    hidden layers (512 x 2 there, and in the preset ``paper``), the discount, rho and the imitation of the
    data, which the paper does not need.

    Attributes:
        transitions: the critics learn on roll-outs of whole windows.
        critics: size of the ensemble.
        bins: bins of the critics' two-hot regression; ``null``: they regress values by squared error.
        rho: step t of a window has weight rho^t in the policy's loss; 1, since it learns on encoded states.
        entropy_weight: weight of the policy's entropy, times the entries of an action.
        scale_tau: EMA rate of the range of Q by which the policy's objective is divided.
        imitation_weight: weight of the likelihood of the data's actions; 0: none, as in the paper.
        inverse_temperature: an action with advantage A is imitated with weight exp(inverse_temperature * A);
            0: all alike.
        max_weight: upper bound to which these weights are clipped.
    """

    transitions: Literal["all"] = "all"
    target_tau: Share = 0.01
    critics: Annotated[int, Field(ge=2, le=100)] = 5
    bins: Bins | None = 101
    rho: Share = 1.0
    entropy_weight: Weight = 1e-4
    scale_tau: Share = 0.01
    imitation_weight: Weight = 1.0
    inverse_temperature: Weight = 1.0
    max_weight: Rate = 100.0
