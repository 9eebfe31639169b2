"""Runs of one family whose policies are chosen from together: several seeds, or specialists of some tasks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load

from clwm_data.errors import ClwmError
from clwm_data.training.settings import CurvePoint, RunFolder, TrainingSettings
from clwm_data.training.team import Candidate


class Pool:
    """Policies of runs.

    Attributes:
        settings: of each run.
        tasks: T of them, those of the first run.
        candidates: every policy that was evaluated, run by run, the first of them untrained.
    """

    def __init__(self, runs: Sequence[RunFolder]) -> None:
        """Read the learning curves.

        Args:
            runs: at least one; the first has all tasks that the others have.

        Raises:
            ClwmError: a folder holds no run, or the runs do not go together.
        """
        self._runs = list(runs)
        self.settings = [_settings(run) for run in self._runs]
        first, path = self.settings[0], self._runs[0].path
        self.tasks = first.tasks
        for run, settings in zip(self._runs, self.settings, strict=True):
            if settings.family != first.family:
                raise ClwmError(f"{run.path}: is about {settings.family}, {path} about {first.family}")
            if more := sorted(set(settings.tasks) - set(first.tasks)):
                raise ClwmError(
                    f"{run.path}: has tasks that {path} has not, {more[0]} for one: name the run with all "
                    f"tasks first"
                )
        self.candidates = [
            self._candidate(index, point) for index, run in enumerate(self._runs) for point in _curve(run)
        ]

    def tensors(self, candidate: Candidate) -> dict[str, NDArray[np.float32]]:
        """The policy, as :class:`clwm_data.zoo.policy.LearnedPolicy` takes it."""
        file = self._runs[candidate.run].candidate(candidate.environment_steps)
        return load(file.read_bytes())

    def _candidate(self, run: int, point: CurvePoint) -> Candidate:
        returns = np.full((2, len(self.tasks)), -np.inf)
        columns = [self.tasks.index(task) for task in self.settings[run].tasks]
        returns[:, columns] = point.returns_stochastic, point.returns_deterministic
        return Candidate(run, point.environment_steps, point.minutes, returns)


def _settings(run: RunFolder) -> TrainingSettings:
    if not run.settings.is_file():
        raise ClwmError(f"{run.path}: holds no run of `clwm behaviour train`")
    return TrainingSettings.model_validate_json(run.settings.read_text(encoding="utf-8"))


def _curve(run: RunFolder) -> list[CurvePoint]:
    curve = run.read_curve()
    if not curve:
        raise ClwmError(f"{run.path}: has not been evaluated yet: let `clwm behaviour train` go on")
    return curve
