"""From a training run to a zoo folder: checkpoints chosen, evaluated well, and described by a card."""

from __future__ import annotations

import platform
import shutil
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load

from clwm_data.families import get_family
from clwm_data.training.selection import choose_checkpoints
from clwm_data.training.settings import CurvePoint, RunFolder, TrainingSettings
from clwm_data.training.team import choose_team
from clwm_data.zoo.card import Card, CheckpointRecord, conditioning_record, sha256, tensors_bytes, write_card
from clwm_data.zoo.evaluation import PolicyEvaluator
from clwm_data.zoo.policy import LearnedPolicy
from clwm_data.zoo.policy_set import PolicySet, pack

PACKAGES = ("clwm", "gymnasium", "mujoco", "dm-control", "torch", "stable-baselines3", "sb3-contrib")
EPISODES = 5
#: Quality of the best checkpoint, and the most policies that share its tasks.
BEST, TEAM = 100, 3
#: Apart from the seed that checkpoints were chosen by: the best of many would look better than it is.
EVALUATION_SEED = 1_000_003
#: What the members of a team are chosen by.
SELECTION_EPISODES, SELECTION_SEED = 3, 2_000_003


def write_zoo(settings: TrainingSettings, folder: RunFolder, checkpoints: int) -> Path:
    """Choose a run's checkpoints and write them with their card.

    Args:
        settings: of the run.
        folder: of the run; what an earlier export wrote there is replaced.
        checkpoints: how many, at least 2.

    Returns:
        the zoo folder.
    """
    curve = folder.read_curve()
    building = folder.zoo.with_suffix(".partial")
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir()
    exporter = _Exporter(settings, folder, building)
    try:
        records = [
            exporter.write(quality, [point], np.zeros(len(settings.tasks), np.int64))
            for quality, point in choose_checkpoints(curve, checkpoints).items()
            if quality < BEST
        ]
        if len(curve) > 1:
            records.append(exporter.write(BEST, *choose_team(curve, exporter.measure, TEAM)))
    finally:
        exporter.close()
    write_card(building, _card(settings, records))
    shutil.rmtree(folder.zoo, ignore_errors=True)
    building.rename(folder.zoo)
    return folder.zoo


class _Exporter:
    """Turns policies of a run into checkpoint files with measured returns."""

    def __init__(self, settings: TrainingSettings, folder: RunFolder, zoo: Path) -> None:
        family = get_family(settings.family)
        self._settings, self._folder, self._zoo = settings, folder, zoo
        self._all_tasks = len(family.tasks)
        self._evaluate = PolicyEvaluator(family, settings.tasks)

    def measure(self, point: CurvePoint) -> NDArray[np.float64]:
        """Returns [T], with and without the policy's noise, on episodes that nothing is reported of."""
        policy = LearnedPolicy(self._tensors(point))
        returns = self._evaluate(policy, episodes=SELECTION_EPISODES, seed=SELECTION_SEED)
        return np.asarray(returns.mean(axis=0))

    def write(self, quality: int, points: list[CurvePoint], member: NDArray[np.int64]) -> CheckpointRecord:
        """Write the file of a checkpoint and measure it.

        Args:
            quality: of the checkpoint.
            points: the policies.
            member: [T] which of them plays each of the run's tasks.
        """
        of_family = np.zeros(self._all_tasks, np.int64)
        of_family[self._settings.tasks] = member
        packed = pack([self._tensors(point) for point in points], of_family)
        content = tensors_bytes(packed)
        file = f"{quality:03d}.safetensors"
        (self._zoo / file).write_bytes(content)
        policies = PolicySet(packed).policies  # as they are in the file, in half precision
        each = [self._evaluate(policy, episodes=EPISODES, seed=EVALUATION_SEED) for policy in policies]
        returns = np.stack(each)[member, :, np.arange(len(member))].T
        return CheckpointRecord(
            quality=quality,
            file=file,
            sha256=sha256(content),
            environment_steps=points[0].environment_steps,
            specialists=[point.environment_steps for point in points[1:]],
            minutes=points[0].minutes,
            returns_stochastic=returns[0].round(3).tolist(),
            returns_deterministic=returns[1].round(3).tolist(),
        )

    def _tensors(self, point: CurvePoint) -> dict[str, NDArray[np.float32]]:
        return load(self._folder.candidate(point.environment_steps).read_bytes())

    def close(self) -> None:
        """Release the simulators."""
        self._evaluate.close()


def _method(settings: TrainingSettings) -> str:
    method = "CrossQ (sb3-contrib)"
    if len(settings.tasks) > 1:
        method += ", one policy for all of these tasks, a task drawn per episode"
    if settings.relabelled:
        method += f", {settings.relabelled:.0%} of the transitions relabelled with other tasks"
    return method


def _card(settings: TrainingSettings, records: list[CheckpointRecord]) -> Card:
    family = get_family(settings.family)
    return Card(
        family=family.name,
        method=_method(settings),
        seed=settings.seed,
        tasks=settings.tasks,
        evaluation_episodes=EPISODES,
        observation_size=family.observation_size,
        action_size=family.action_size,
        conditioning=conditioning_record(family),
        packages={"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
        checkpoints=records,
    )
