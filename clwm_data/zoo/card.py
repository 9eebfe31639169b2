"""A zoo folder: checkpoints of a family's behaviour policy (safetensors) and a zoo card about them (YAML)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from clwm_data.bounded import read_bounded
from clwm_data.errors import DamagedDataError, InvalidInputError, NotFoundError
from clwm_data.extras import require
from clwm_data.families.base import TaskFamily
from clwm_data.pages.numbers import plural
from clwm_data.strict import StrictModel, build_model, read_yaml
from clwm_data.yaml_text import dump_yaml
from clwm_data.zoo.names import CARD
from clwm_data.zoo.policy_set import PolicySet


class ConditioningRecord(StrictModel):
    """What follows the observation in the policy's input: see :mod:`clwm_data.families.conditioning`."""

    names: list[str]
    low: list[float]
    high: list[float]

    @model_validator(mode="after")
    def _consistent(self) -> ConditioningRecord:
        if not len(self.names) == len(self.low) == len(self.high):
            raise ValueError("names, low and high must be equally long")
        return self


class RunRecord(StrictModel):
    """A further training run whose policies some checkpoints use.

    Attributes:
        seed: seed of the training.
        tasks: indices of the tasks that it was trained on, some or all of the card's.
        method: how it was trained, in words.
        packages: versions of the packages that trained it.
    """

    seed: int
    tasks: list[int]
    method: str
    packages: dict[str, str]


class CheckpointRecord(StrictModel):
    """One policy, or a few policies that divide the tasks among themselves.

    Attributes:
        quality: on every task, about how far its returns lie between those of the untrained policy (0) and
            of the best one (100), in per cent.
        file: name of the safetensors file, which lies beside the card.
        sha256: SHA-256 of the file.
        environment_steps: environment steps of training until this checkpoint.
        specialists: environment steps of the further policies, which play the tasks that they are better at;
            the file says which, see :class:`clwm_data.zoo.policy_set.PolicySet`.
        runs: for each policy, the run that trained it: 0 is the card's own, i > 0 its i-th further run;
            empty if all are from the card's own run.
        symmetries: for each policy, the symmetry of the family under which it is the image of a trained
            policy; "" for a trained policy itself; empty if all are.
        minutes: training time until this checkpoint, on the machine that trained.
        returns_stochastic: [T] mean return on each task, actions drawn from the policy.
        returns_deterministic: [T] mean return on each task, actions tanh(mean).
    """

    quality: int = Field(ge=0, le=100)
    file: str = Field(pattern=r"^[A-Za-z0-9._-]+\.safetensors$")
    sha256: str
    environment_steps: int = Field(ge=0)
    specialists: list[int] = Field(default_factory=list)
    runs: list[int] = Field(default_factory=list)
    symmetries: list[str] = Field(default_factory=list)
    minutes: float = Field(ge=0)
    returns_stochastic: list[float]
    returns_deterministic: list[float]

    @property
    def origins(self) -> list[tuple[int, int, str]]:
        """Run (as in :attr:`runs`), environment steps and symmetry of each policy."""
        steps = [self.environment_steps, *self.specialists]
        runs, symmetries = self.runs or [0] * len(steps), self.symmetries or [""] * len(steps)
        return list(zip(runs, steps, symmetries, strict=True))


class Card(StrictModel):
    """What is known about a family's checkpoints.

    Attributes:
        family: task family.
        method: how the policies were trained, in words.
        seed: seed of the training.
        tasks: indices of the tasks of training and evaluation, in the order of the returns.
        further_runs: other runs (other seeds, or only some of the tasks) whose policies checkpoints use.
        evaluation_episodes: episodes per task and kind of return.
        observation_size: entries of the observation, which come first in the input.
        action_size: entries of an action.
        conditioning: the entries that follow the observation.
        packages: versions of the packages that trained the policies.
        checkpoints: in ascending order of quality.
    """

    family: str
    method: str
    seed: int
    tasks: list[int]
    further_runs: list[RunRecord] = Field(default_factory=list)
    evaluation_episodes: int = Field(ge=1)
    observation_size: int = Field(ge=1)
    action_size: int = Field(ge=1)
    conditioning: ConditioningRecord
    packages: dict[str, str]
    checkpoints: list[CheckpointRecord] = Field(min_length=1)

    @model_validator(mode="after")
    def _consistent(self) -> Card:
        qualities = [checkpoint.quality for checkpoint in self.checkpoints]
        if sorted(set(qualities)) != qualities:
            raise ValueError(f"the qualities of the checkpoints must ascend: {qualities}")
        for checkpoint in self.checkpoints:
            if checkpoint.runs and (
                len(checkpoint.runs) != 1 + len(checkpoint.specialists)
                or not 0 <= min(checkpoint.runs) <= max(checkpoint.runs) <= len(self.further_runs)
            ):
                raise ValueError(
                    f"checkpoint {checkpoint.quality} needs a run, 0 to {len(self.further_runs)}, per policy"
                )
            if checkpoint.symmetries and len(checkpoint.symmetries) != 1 + len(checkpoint.specialists):
                raise ValueError(f"checkpoint {checkpoint.quality} needs a symmetry per policy, or none")
            for returns in (checkpoint.returns_stochastic, checkpoint.returns_deterministic):
                if len(returns) != len(self.tasks):
                    raise ValueError(f"checkpoint {checkpoint.quality} needs one return per task")
        return self

    def checkpoint(self, quality: int) -> CheckpointRecord:
        """The checkpoint of a quality.

        Raises:
            ClwmError: there is none.
        """
        for checkpoint in self.checkpoints:
            if checkpoint.quality == quality:
                return checkpoint
        known = ", ".join(str(checkpoint.quality) for checkpoint in self.checkpoints)
        raise NotFoundError(f"{self.family} has no checkpoint {quality}; it has: {known}")


def conditioning_record(family: TaskFamily) -> ConditioningRecord:
    """The family's conditioning as a card keeps it."""
    conditioning = family.conditioning
    return ConditioningRecord(
        names=list(conditioning.names), low=list(conditioning.low), high=list(conditioning.high)
    )


def same_inputs(
    family: TaskFamily, observation_size: int, action_size: int, conditioning: ConditioningRecord
) -> bool:
    """Whether the inputs and actions that a policy was trained with are still those of the family."""
    known = conditioning_record(family)
    return (
        (observation_size, action_size) == (family.observation_size, family.action_size)
        and conditioning.names == known.names
        and np.allclose(conditioning.low, known.low, rtol=1e-6, atol=1e-9)
        and np.allclose(conditioning.high, known.high, rtol=1e-6, atol=1e-9)
    )


def write_card(folder: Path, card: Card) -> None:
    """Write the card of a zoo folder."""
    text = dump_yaml(card.model_dump(mode="json"), default_flow_style=None, width=110)
    (folder / CARD).write_text(text, encoding="utf-8", newline="\n")


def read_card(folder: Path, family: TaskFamily) -> Card:
    """Read the card of a zoo folder and check that it is about this family as it is now.

    Raises:
        ClwmError: there is no card, it contains a mistake, or it is about another family or version of it.
    """
    path = folder / CARD
    if not path.is_file():
        raise NotFoundError(
            f"{folder}: holds no {CARD}: `clwm behaviour train {family.name} --out RUN` makes such a folder "
            f"(RUN/zoo)"
        )
    card = build_model(Card, read_yaml(path))
    if card.family not in (family.name, family.policies_of):
        raise InvalidInputError(f"{path}: is about family {card.family}, not {family.name}")
    if not same_inputs(family, card.observation_size, card.action_size, card.conditioning):
        raise InvalidInputError(f"{path}: was trained on another version of {family.name}: train it again")
    return card


def tensors_bytes(tensors: Mapping[str, NDArray[Any]]) -> bytes:
    """A policy as the bytes of a safetensors file."""
    safetensors = require("safetensors.numpy", "sim", "writing learned policies")
    content: bytes = safetensors.save(dict(tensors))
    return content


def load_policies(folder: Path, card: Card, checkpoint: CheckpointRecord) -> PolicySet:
    """The policies of a checkpoint.

    Raises:
        ClwmError: the file is missing, or is not the one that the card describes.
    """
    path = folder / checkpoint.file
    try:
        content = read_bounded(path)
    except OSError as error:
        raise NotFoundError(f"{path}: cannot be read: {error.strerror}") from error
    if sha256(content) != checkpoint.sha256:
        raise DamagedDataError(f"{path}: is not the file that {CARD} describes (sha-256 differs): restore it")
    safetensors = require("safetensors", "sim", "learned policies")
    tensors = require("safetensors.numpy", "sim", "learned policies")
    try:
        policies = PolicySet(tensors.load(content))
    except (safetensors.SafetensorError, ValueError) as error:
        raise DamagedDataError(f"{path}: is not a policy: {error}") from error
    policy = policies.policies[0]
    inputs = card.observation_size + len(card.conditioning.names)
    if (policy.input_size, policy.action_size) != (inputs, card.action_size):
        raise DamagedDataError(
            f"{path}: maps {plural(policy.input_size, 'input')} to {plural(policy.action_size, 'action')}, "
            f"not {inputs} to {card.action_size}"
        )
    if policies.member is not None and len(policies.member) <= max(card.tasks):
        raise DamagedDataError(
            f"{path}: assigns policies to {plural(len(policies.member), 'task')}, but the card lists more"
        )
    return policies


def sha256(content: bytes) -> str:
    """Hexadecimal SHA-256."""
    return hashlib.sha256(content).hexdigest()
