"""Runs of one family as a common pool of policies: several seeds, or specialists for some tasks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from clwm_data.behaviour_training.folder import RunFolder
from clwm_data.behaviour_training.settings import CurvePoint
from clwm_data.behaviour_training.team import Candidate, Image
from clwm_data.errors import DamagedDataError, InvalidInputError
from clwm_data.families import get_family
from clwm_data.ranges import format_indices
from clwm_data.zoo.image import image_of_policy, images_of_tasks


class Pool:
    """Policies of runs.

    Attributes:
        descriptions: description of each run.
        tasks: the T tasks of the first run.
        candidates: every policy that was evaluated, run by run, the first of them untrained; after them the
            images of all trained ones under the symmetries of the family that map these tasks to each other.
    """

    def __init__(self, runs: Sequence[RunFolder]) -> None:
        """Read the learning curves.

        Args:
            runs: at least one; the first has all tasks that the others have.

        Raises:
            ClwmError: a folder holds no run or a damaged one, a run is named twice, or the runs do not match.
        """
        self._runs = list(runs)
        self.descriptions = [run.read_description() for run in self._runs]
        self.tasks = self.descriptions[0].settings.tasks
        self._family = get_family(self.descriptions[0].settings.family)
        self._check()
        self.candidates = [
            self._candidate(index, point)
            for index, run in enumerate(self._runs)
            for point in self._evaluations(index, run)
        ]
        self.candidates += list(self._images())

    def tensors(self, candidate: Candidate) -> dict[str, NDArray[np.float32]]:
        """The policy, as :class:`clwm_data.zoo.policy.LearnedPolicy` takes it.

        Raises:
            ClwmError: its file is missing or damaged.
        """
        tensors = self._runs[candidate.run].read_candidate(candidate.environment_steps)
        if candidate.image is None:
            return tensors
        return image_of_policy(tensors, candidate.image.symmetry, self._family.conditioning)

    def _check(self) -> None:
        path, family = self._runs[0].path, self.descriptions[0].settings.family
        seen = set()
        for run, description in zip(self._runs, self.descriptions, strict=True):
            settings = description.settings
            if (place := run.path.resolve()) in seen:
                raise InvalidInputError(f"{run.path}: is named twice: name each run once")
            seen.add(place)
            if settings.family != family:
                raise InvalidInputError(
                    f"{run.path}: is about {settings.family}, {path} about {family}: name runs of one family"
                )
            if more := sorted(set(settings.tasks) - set(self.tasks)):
                raise InvalidInputError(
                    f"{run.path}: is on tasks that {path} is not on ({format_indices(more)}): name a run on "
                    f"all of them first"
                )

    def _evaluations(self, index: int, run: RunFolder) -> list[CurvePoint]:
        curve = run.read_curve()
        if not curve:
            raise InvalidInputError(
                f"{run.path}: has not been evaluated yet: let `clwm behaviour train` go on"
            )
        tasks = len(self.descriptions[index].settings.tasks)
        for line, point in enumerate(curve, 1):
            if {len(point.returns_stochastic), len(point.returns_deterministic)} != {tasks}:
                raise DamagedDataError(f"{run.curve}:{line}: is damaged: needs {tasks} returns: train again")
        return curve

    def _images(self) -> Iterator[Candidate]:
        trained = [candidate for candidate in self.candidates if candidate.environment_steps]
        for symmetry in self._family.symmetries:
            column = images_of_tasks(symmetry, self._family.conditioning, self.tasks)
            if column is not None:
                yield from (Image.make(candidate, symmetry, column) for candidate in trained)

    def _candidate(self, run: int, point: CurvePoint) -> Candidate:
        returns = np.full((2, len(self.tasks)), -np.inf)
        columns = [self.tasks.index(task) for task in self.descriptions[run].settings.tasks]
        returns[:, columns] = point.returns_stochastic, point.returns_deterministic
        return Candidate(run, point.environment_steps, point.minutes, returns)
