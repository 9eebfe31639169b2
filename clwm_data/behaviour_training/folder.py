"""The files of a training run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError

from clwm_data.behaviour_training.settings import CurvePoint, RunDescription
from clwm_data.bounded import read_bounded
from clwm_data.errors import ClwmError, DamagedDataError, InvalidInputError, NotFoundError, UnavailableError
from clwm_data.extras import require
from clwm_data.families import TaskFamily, get_family
from clwm_data.store.atomic import replacing
from clwm_data.strict import first_mistake
from clwm_data.zoo.card import same_inputs, tensors_bytes

Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True)
class RunFolder:
    """The files of a run: paths, reading and writing; damaged files raise errors that name them.

    Attributes:
        path: the folder.
    """

    path: Path

    @property
    def description(self) -> Path:
        """:class:`RunDescription` as JSON."""
        return self.path / "run.json"

    @property
    def curve(self) -> Path:
        """The learning curve: a :class:`CurvePoint` per line."""
        return self.path / "curve.jsonl"

    @property
    def snapshot(self) -> Path:
        """The state of the learner at the last evaluation, for ``--resume``."""
        return self.path / "snapshot.pt"

    @property
    def zoo(self) -> Path:
        """The result: a folder as :mod:`clwm_data.zoo.card` describes it."""
        return self.path / "zoo"

    def candidate(self, environment_steps: int) -> Path:
        """The policy that was evaluated after so many environment steps."""
        return self.path / "candidates" / f"{environment_steps:09d}.safetensors"

    def sweep(self) -> None:
        """Remove files that a killed process left unfinished; only for the process that owns the run."""
        for unfinished in self.path.rglob("*.partial"):
            if unfinished.is_file():
                unfinished.unlink()

    def begin(self, description: RunDescription) -> None:
        """Create the folder and write the description of the run."""
        self.candidate(0).parent.mkdir(parents=True, exist_ok=True)
        with replacing(self.description) as temporary:
            temporary.write_text(description.model_dump_json(indent=1), encoding="utf-8", newline="\n")

    def read_description(self) -> RunDescription:
        """The description of the run.

        Raises:
            ClwmError: the folder is not a run, its file is damaged, or its family has changed.
        """
        if not self.description.is_file():
            raise NotFoundError(
                f"{self.path}: holds no training run: name a folder that `clwm behaviour train --out` made"
            )
        description = _parse(RunDescription, read_bounded(self.description), f"{self.description}")
        try:
            family = get_family(description.settings.family)
        except ClwmError as error:
            raise UnavailableError(f"{self.path}: {error}") from error
        if not _is_of(family, description):
            raise InvalidInputError(
                f"{self.path}: was trained on another version of {family.name}: train anew, to another --out"
            )
        return description

    def read_curve(self) -> list[CurvePoint]:
        """The evaluations so far; an incomplete last line, left by a killed process, is dropped.

        Raises:
            ClwmError: any other line is damaged.
        """
        if not self.curve.is_file():
            return []
        lines = read_bounded(self.curve).split(b"\n")[:-1]
        return [_parse(CurvePoint, line, f"{self.curve}:{number}") for number, line in enumerate(lines, 1)]

    def drop_after(self, environment_steps: int) -> None:
        """Drop evaluations newer than the snapshot: the process was killed between writing the two."""
        points = [point for point in self.read_curve() if point.environment_steps <= environment_steps]
        with replacing(self.curve) as temporary:
            lines = "".join(point.model_dump_json() + "\n" for point in points)
            temporary.write_text(lines, encoding="utf-8", newline="\n")

    def add(self, point: CurvePoint, tensors: Mapping[str, NDArray[np.float32]]) -> None:
        """Store an evaluation and its policy."""
        with replacing(self.candidate(point.environment_steps)) as temporary:
            temporary.write_bytes(tensors_bytes(tensors))
        with self.curve.open("a", encoding="utf-8", newline="\n") as stream:
            stream.write(point.model_dump_json() + "\n")

    def read_candidate(self, environment_steps: int) -> dict[str, NDArray[np.float32]]:
        """The policy of an evaluation, as :class:`clwm_data.zoo.policy.LearnedPolicy` takes it.

        Raises:
            ClwmError: its file is missing or damaged.
        """
        path = self.candidate(environment_steps)
        safetensors = require("safetensors", "sim", "learned policies")
        tensors = require("safetensors.numpy", "sim", "learned policies")
        if not path.is_file():
            raise NotFoundError(f"{path}: is missing: restore it, or train again")
        try:
            policy: dict[str, NDArray[np.float32]] = tensors.load(read_bounded(path))
        except safetensors.SafetensorError as error:
            raise DamagedDataError(f"{path}: is not a policy: {error}: restore it, or train again") from error
        return policy


def _parse(model: type[Model], content: bytes, where: str) -> Model:
    try:
        return model.model_validate_json(content)
    except ValidationError as error:
        raise DamagedDataError(
            f"{where}: is damaged ({first_mistake(error)}): restore it, or train again"
        ) from error


def _is_of(family: TaskFamily, description: RunDescription) -> bool:
    sizes = description.observation_size, description.action_size
    tasks = description.settings.tasks
    return same_inputs(family, *sizes, description.conditioning) and max(tasks) < len(family.tasks)
