"""Constants of planning; the defaults are TD-MPC2's (Hansen et al. 2024, arXiv 2310.16828)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

from pydantic import model_validator

from clwm_data.strict import StrictModel, YamlDocument, build_model
from clwm_train.config import Count, Rate, Weight
from clwm_train.methods.method_file import merge
from clwm_train.methods.resolve import parse_override


class PlannerConfig(StrictModel):
    """Model predictive path integral control (Williams et al. 2015, arXiv 1509.01149) in the latent space.

    Attributes:
        horizon: steps that are planned ahead; what comes after is left to the critics.
        iterations: of sampling and refitting, per action.
        samples: action sequences per iteration, the policy's among them.
        policy_samples: sequences that the policy proposes.
        elites: best sequences that the next distribution is fitted to.
        temperature: an elite weighs exp(temperature * (value - best value)), in scaled rewards.
        min_std: lower end of the standard deviation of sampled actions.
        max_std: upper end, and where it starts.
    """

    horizon: Count = 3
    iterations: Count = 6
    samples: Count = 512
    policy_samples: int = 24
    elites: Count = 64
    temperature: Weight = 0.5
    min_std: Rate = 0.05
    max_std: Rate = 2.0

    @model_validator(mode="after")
    def _numbers_fit(self) -> Self:
        if self.elites > self.samples:
            raise ValueError(f"elites {self.elites} are more than samples {self.samples}")
        if not 0 <= self.policy_samples <= self.samples:
            raise ValueError(
                f"policy_samples {self.policy_samples} is not within 0 and samples {self.samples}"
            )
        if self.min_std > self.max_std:
            raise ValueError(f"min_std {self.min_std} is above max_std {self.max_std}")
        return self


def planner_config(overrides: Sequence[str] = ()) -> PlannerConfig:
    """The constants with ``key=value`` overrides.

    Raises:
        ClwmError: the first mistake in them.
    """
    data: dict[str, Any] = {}
    for override in overrides:
        data = merge(data, parse_override(override, "--planner-set", "samples=128"))
    return build_model(PlannerConfig, YamlDocument("--planner-set", data, {}))
