"""From a training run to a zoo folder: checkpoints chosen, evaluated well, and described by a card."""

from __future__ import annotations

import platform
import shutil
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load

from clwm_data.families import get_family
from clwm_data.training.settings import CurvePoint, RunFolder, TrainingSettings
from clwm_data.training.stage import choose_stage
from clwm_data.training.team import Measure, Team, best_team
from clwm_data.zoo.card import Card, CheckpointRecord, conditioning_record, sha256, tensors_bytes, write_card
from clwm_data.zoo.evaluation import PolicyEvaluator
from clwm_data.zoo.policy import LearnedPolicy
from clwm_data.zoo.policy_set import PolicySet, pack

PACKAGES = ("clwm", "gymnasium", "mujoco", "dm-control", "torch", "stable-baselines3", "sb3-contrib")
EPISODES = 5
#: Quality of the best checkpoint, and the most policies that share the tasks of a checkpoint.
BEST, TEAM = 100, 3
#: Apart from the seed that checkpoints were chosen by: the best of many would look better than it is.
EVALUATION_SEED = 1_000_003
#: What says who plays which task of a checkpoint.
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
        teams = _choose(curve, exporter.measure, checkpoints)
        records = [exporter.write(quality, team) for quality, team in teams.items()]
    finally:
        exporter.close()
    write_card(building, _card(settings, records))
    shutil.rmtree(folder.zoo, ignore_errors=True)
    building.rename(folder.zoo)
    return folder.zoo


def _choose(curve: Sequence[CurvePoint], measure: Measure, checkpoints: int) -> dict[int, Team]:
    """Quality in per cent -> policies: the untrained one, stages of evenly spread returns, the best.

    The spread is of returns with the policies' noise, since that is what most datasets are collected with.
    """
    untrained = Team.alone(curve[0])
    if len(curve) == 1:
        return {0: untrained}
    best = best_team(curve, measure, TEAM)
    between = [point for point in curve[1:] if point not in best.points]
    low, high = measure(curve[0])[0], _with_noise(best, measure)
    teams = {0: untrained}
    for quality in np.linspace(0.0, BEST, checkpoints)[1:-1]:
        stage = choose_stage(between, low + quality / BEST * (high - low), measure, TEAM)
        if stage is not None:
            teams[round(quality)] = stage
    return {**teams, BEST: best}


def _with_noise(team: Team, measure: Measure) -> NDArray[np.float64]:
    each = np.asarray([measure(point)[0] for point in team.points])
    return np.asarray(np.take_along_axis(each, team.member[None], axis=0)[0])


class _Exporter:
    """Turns policies of a run into checkpoint files with measured returns."""

    def __init__(self, settings: TrainingSettings, folder: RunFolder, zoo: Path) -> None:
        family = get_family(settings.family)
        self._settings, self._folder, self._zoo = settings, folder, zoo
        self._all_tasks = len(family.tasks)
        self._evaluate = PolicyEvaluator(family, settings.tasks)
        self._measured: dict[int, NDArray[np.float64]] = {}

    def measure(self, point: CurvePoint) -> NDArray[np.float64]:
        """Returns [2, T], with and without the policy's noise, on episodes that nothing is reported of."""
        steps = point.environment_steps
        if steps not in self._measured:
            policy = LearnedPolicy(self._tensors(point))
            self._measured[steps] = self._evaluate(policy, episodes=SELECTION_EPISODES, seed=SELECTION_SEED)
        return self._measured[steps]

    def write(self, quality: int, team: Team) -> CheckpointRecord:
        """Write the file of a checkpoint and measure it."""
        points, member = team.points, team.member
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
