"""What a user decides beside the configuration of a run: how agents are evaluated and analysed, and where it
is computed. One frozen model each: the command line builds it, experiment files name it, files of results
hold it, and two of them are the same if they are equal.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar, get_args

from pydantic import (
    AfterValidator,
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from clwm_data.behaviour_name import behaviour_name
from clwm_data.errors import DamagedDataError
from clwm_data.families import SPLITS, Split
from clwm_data.store.digest import json_sha256
from clwm_data.strict import Settings, StrictModel, Text
from clwm_data.yaml_values import shown as quoted
from clwm_train.config import Count, Protocol, Rate, Weight

PROTOCOLS: tuple[Protocol, ...] = get_args(Protocol)
PriorName = Literal["zero", "mean"]
#: How a task is inferred from an agent's own transitions.
Inference = Literal["encoder", "model", "model-mean", "model-sample"]
#: Where a store's data is kept while training.
Memory = Literal["auto", "ram", "mmap"]

Seed = Annotated[int, Field(ge=0)]
#: Default number of transitions of a context.
CONTEXT_SIZE = 600

#: Name of a behaviour: ``learned 25 %`` and ``learned-025`` are ``learned-25``.
BehaviourName = Annotated[Text, Field(min_length=1, max_length=100), AfterValidator(behaviour_name)]
#: Names that :func:`result_name` gives.
RESULT_NAME = re.compile(r"step-[0-9]{9}-[0-9a-f]{8}\.json")
#: Settings of an evaluation that are written down only if they are not these.
SELDOM = {"env": None, "context_behaviour": None}

Choice = TypeVar("Choice", bound=str)


def _names_function(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z_<][^\s:]*:[^\s:]+", text):
        raise ValueError(f"expected module:function, such as my_robot:make, found {quoted(text)}")
    return text


class PlannerConfig(Settings):
    """Model predictive path integral control (Williams et al. 2015, arXiv 1509.01149) in the latent space.

    The defaults are TD-MPC2's (Hansen et al. 2024, arXiv 2310.16828).

    Attributes:
        horizon: steps that are planned ahead; the critics value what follows.
        iterations: iterations of sampling and refitting per action.
        samples: action sequences per iteration, including those of the policy.
        policy_samples: sequences that the policy proposes.
        elites: number of best sequences that the next distribution is fitted to.
        temperature: the weight of an elite is exp(temperature * (value - best value)), in scaled rewards.
        min_std: lower bound of the standard deviation of sampled actions.
        max_std: upper bound, and initial value.
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


class EvaluationSettings(Settings):
    """How an agent is evaluated. The defaults are the published settings.

    Attributes:
        protocols: sources of contexts, see :func:`clwm_train.evaluation.evaluate`; in the order of
            ``PROTOCOLS``.
        splits: splits of tasks, in the order of ``SPLITS``.
        episodes: episodes per task.
        context_size: transitions of a context.
        seed: seed of contexts and episodes.
        prior: task representation before any transition: ``zero``: z = 0; ``mean``: the train tasks' mean z.
        prior_weight: number of transitions that the prior counts as; 0: the first transition replaces it.
        inference: how a task is inferred from the agent's own transitions: by the context encoder, or by the
            errors of the world model: of the candidates for z, ``model`` takes the best, ``model-mean`` the
            mean of their posterior, ``model-sample`` a sample of it.
        noise: factor on the standard deviations of the policy's actions; 0: its mean.
        planner: constants of MPPI; ``None``: the policy acts.
        context_behaviour: few-shot contexts only from episodes of this behaviour, as
            :func:`~clwm_data.behaviour_name.behaviour_name` calls it (``random``, ``learned-25``); ``None``:
            from all of the task's data.
        env: ``package.module:function`` that makes the environments, called with a task's index and
            parameters; ``None``: the family's own.
    """

    protocols: Annotated[tuple[Protocol, ...], Field(strict=False, min_length=1)] = ("few-shot", "zero-shot")
    splits: Annotated[tuple[Split, ...], Field(strict=False, min_length=1)] = SPLITS
    episodes: Count = 3
    context_size: Annotated[int, Field(ge=0)] = CONTEXT_SIZE
    seed: Seed = 0
    prior: PriorName = "zero"
    prior_weight: Weight = 0.0
    inference: Inference = "encoder"
    noise: Weight = 0.0
    planner: PlannerConfig | None = None
    context_behaviour: BehaviourName | None = None
    env: Annotated[Text, Field(max_length=300), AfterValidator(_names_function)] | None = None

    @model_serializer(mode="wrap")
    def _without_absent(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what few evaluations have, so that the files of all others are called as before."""
        values: dict[str, Any] = handler(self)
        return {name: value for name, value in values.items() if name not in SELDOM or value != SELDOM[name]}

    @field_validator("protocols", "splits", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @field_validator("protocols", mode="after")
    @classmethod
    def _protocols_in_order(cls, value: tuple[Protocol, ...]) -> tuple[Protocol, ...]:
        return _in_order(value, PROTOCOLS)

    @field_validator("splits", mode="after")
    @classmethod
    def _splits_in_order(cls, value: tuple[Split, ...]) -> tuple[Split, ...]:
        return _in_order(value, SPLITS)

    @model_validator(mode="after")
    def _settings_fit(self) -> Self:
        if self.context_behaviour is not None and "few-shot" not in self.protocols:
            raise ValueError(
                "context_behaviour: only few-shot takes its contexts from the data: add it to the protocols"
            )
        if self.planner is not None and self.noise:
            raise ValueError("noise is for the policy, but the planner acts: drop one of the two")
        if self.inference != "encoder" and self.prior_weight:
            raise ValueError(
                "prior_weight: inference by the model counts no transitions: drop one of the two"
            )
        return self


class AnalysisSettings(Settings):
    """How a run is analysed, see :func:`clwm_train.analysis.run.analyse`.

    Attributes:
        contexts: contexts per task, for probe and disentanglement.
        context_size: transitions of a context.
        horizon: steps of the open-loop prediction.
        seed: seed of contexts and windows.
    """

    contexts: Annotated[int, Field(ge=2)] = 32
    context_size: Count = 64
    horizon: Count = 20
    seed: Seed = 0


class Execution(Settings):
    """Where and how something is computed, which changes results only by rounding.

    What is left open (``auto``, ``None``) is decided once, by
    :func:`clwm_train.training.decide.decide_execution`.

    Attributes:
        device: cpu, cuda, cuda:1, ...; ``auto``: a GPU if there is one.
        compile: compute losses and gradients as compiled graphs; ``None``: if it pays off and is possible.
        memory: ``ram``: hold the data on the device; ``mmap``: map them from files of the cache; ``auto``:
            map them if they would not fit.
        threads: CPU threads; ``None``: depends on the size of the networks.
        lanes: maximum number of episodes that an evaluation runs at a time, to limit memory (Meta-World's
            take 30 MB each); of one task all run together.
    """

    device: Text = "cpu"
    compile: bool | None = None
    memory: Memory = "auto"
    threads: Count | None = None
    lanes: Count = 128


#: What is meant where nothing is said; the evaluation is the published one.
DEFAULT_EVALUATION = EvaluationSettings()
DEFAULT_ANALYSIS = AnalysisSettings()
DEFAULT_EXECUTION = Execution()


def describe(settings: StrictModel) -> str:
    """Every setting in one line: ``protocols few-shot, zero-shot; splits id; episodes 3; ...``."""
    return "; ".join(
        f"{name.replace('_', ' ')} {shown(value)}"
        for name, value in settings
        if name not in SELDOM or value != SELDOM[name]
    )


def differences(first: StrictModel, second: StrictModel) -> list[str]:
    """Names of the settings that differ between two of the same kind."""
    return [name for name, value in first if value != getattr(second, name)]


def result_name(checkpoint: str, settings: StrictModel, store_sha256: str) -> str:
    """Name of the file of a result: the same for the same checkpoint, settings and data."""
    key = {"settings": settings.model_dump(mode="json"), "store": store_sha256}
    return f"{checkpoint}-{json_sha256(key)[:8]}.json"


def check_result_name(file: Path, name: str, remedy: str) -> None:
    """Refuse a result whose checkpoint, settings or data are not those that its file is named after.

    A copy under a name that is none of a result is not refused.

    Raises:
        DamagedDataError: the name is another result's.
    """
    if file.name != name and RESULT_NAME.fullmatch(file.name):
        raise DamagedDataError(
            f"{file}: its checkpoint, settings or data are not those that the file is named after: {remedy}"
        )


def shown(value: Any) -> str:
    """A setting's value as text."""
    if value is None:
        return "none"
    if isinstance(value, StrictModel):
        return f"({describe(value)})"
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _in_order(chosen: tuple[Choice, ...], allowed: tuple[Choice, ...]) -> tuple[Choice, ...]:
    """Each choice once, in the order of ``allowed``, whatever the order in which they were given."""
    return tuple(value for value in allowed if value in chosen)
