"""What a training run is, and where its files lie."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from clwm_data.strict import StrictModel


class TrainingSettings(StrictModel):
    """Everything but its length that decides what a run learns.

    Attributes:
        family: task family.
        tasks: indices of the tasks that episodes are drawn from.
        seed: of networks, exploration, tasks and initial states.
        environments: episodes played at a time.
        updates: gradient steps per step of all environments together.
        learning_rate: of all networks, in the first half of the run; it then falls.
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


class CurvePoint(StrictModel):
    """One evaluation: a line of ``curve.jsonl``.

    Attributes:
        environment_steps: of training so far.
        minutes: of wall time so far, interruptions left out.
        returns_stochastic: [T] return of one episode on each task, actions drawn.
        returns_deterministic: [T] the same with the mean action.
    """

    environment_steps: int
    minutes: float
    returns_stochastic: list[float]
    returns_deterministic: list[float]


@dataclass(frozen=True)
class RunFolder:
    """Paths of a run's files."""

    path: Path

    @property
    def settings(self) -> Path:
        """:class:`TrainingSettings` as JSON."""
        return self.path / "settings.json"

    @property
    def curve(self) -> Path:
        """The learning curve: a :class:`CurvePoint` per line."""
        return self.path / "curve.jsonl"

    @property
    def snapshot(self) -> Path:
        """State of the learner at the last evaluation, for ``--resume``."""
        return self.path / "snapshot.pt"

    @property
    def zoo(self) -> Path:
        """The result: a folder as :mod:`clwm_data.zoo.card` describes it."""
        return self.path / "zoo"

    def candidate(self, environment_steps: int) -> Path:
        """The policy at an evaluation."""
        return self.path / "candidates" / f"{environment_steps:09d}.safetensors"

    def read_curve(self) -> list[CurvePoint]:
        """The evaluations so far; a last line that was cut off by a kill is dropped."""
        if not self.curve.is_file():
            return []
        lines = self.curve.read_text(encoding="utf-8").split("\n")[:-1]
        return [CurvePoint.model_validate_json(line) for line in lines]
