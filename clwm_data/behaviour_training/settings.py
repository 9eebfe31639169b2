"""Settings and files of a behaviour training run."""

from __future__ import annotations

from pydantic import Field

from clwm_data.strict import StrictModel
from clwm_data.zoo.card import ConditioningRecord


class TrainingSettings(StrictModel):
    """Everything that determines what a run learns, except its length.

    Attributes:
        family: task family.
        tasks: indices of the tasks that episodes are drawn from.
        seed: seed of networks, exploration, tasks and initial states.
        environments: episodes played at a time.
        updates: gradient steps per step of all environments together.
        learning_rate: learning rate of all networks in the first half of the run; it then decreases.
        buffer: transitions kept for replay.
        relabelled: share of a batch that is relabelled with another task of the same dynamics.
    """

    family: str
    tasks: list[int] = Field(min_length=1)
    seed: int = Field(default=0, ge=0, lt=2**32)
    environments: int = Field(default=8, ge=1)
    updates: int = Field(default=4, ge=1)
    learning_rate: float = Field(default=1e-3, gt=0)
    buffer: int = Field(default=1_000_000, ge=1)
    relabelled: float = Field(default=0.0, ge=0.0, le=1.0)


class RunDescription(StrictModel):
    """Description of a run, written when it starts: ``run.json``.

    Attributes:
        settings: settings of the run.
        observation_size: observation size of the family at the start.
        action_size: action size of the family at the start.
        conditioning: conditioning of the family at the start.
        packages: versions of the packages at the start.
        compiled: whether the updates are compiled.
    """

    settings: TrainingSettings
    observation_size: int
    action_size: int
    conditioning: ConditioningRecord
    packages: dict[str, str]
    compiled: bool = False


class CurvePoint(StrictModel):
    """One evaluation: a line of ``curve.jsonl``.

    Attributes:
        environment_steps: environment steps of training so far.
        minutes: wall time so far, without interruptions.
        returns_stochastic: [T] return of one episode on each task, actions drawn from the policy.
        returns_deterministic: [T] the same, with mean actions.
    """

    environment_steps: int
    minutes: float
    returns_stochastic: list[float]
    returns_deterministic: list[float]
