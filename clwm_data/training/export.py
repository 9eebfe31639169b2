"""From a training run to a zoo folder: checkpoints chosen, evaluated well, and described by a card."""

from __future__ import annotations

import platform
import shutil
from importlib.metadata import version
from pathlib import Path

from safetensors.numpy import load

from clwm_data.families import get_family
from clwm_data.training.selection import choose_checkpoints
from clwm_data.training.settings import RunFolder, TrainingSettings
from clwm_data.zoo.card import Card, CheckpointRecord, conditioning_record, sha256, write_card
from clwm_data.zoo.evaluation import PolicyEvaluator
from clwm_data.zoo.policy import LearnedPolicy

PACKAGES = ("clwm", "gymnasium", "mujoco", "dm-control", "torch", "stable-baselines3", "sb3-contrib")
EPISODES = 5
#: Apart from the seed that checkpoints were chosen by: the best of many would look better than it is.
EVALUATION_SEED = 1_000_003


def write_zoo(settings: TrainingSettings, folder: RunFolder, checkpoints: int) -> Path:
    """Choose a run's checkpoints and write them with their card.

    Args:
        settings: of the run.
        folder: of the run; what an earlier export wrote there is replaced.
        checkpoints: how many, at least 2.

    Returns:
        the zoo folder.
    """
    family = get_family(settings.family)
    chosen = choose_checkpoints(folder.read_curve(), checkpoints)
    building = folder.zoo.with_suffix(".partial")
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir()
    records = []
    evaluate = PolicyEvaluator(family, settings.tasks)
    for quality, point in chosen.items():
        content = folder.candidate(point.environment_steps).read_bytes()
        returns = evaluate(LearnedPolicy(load(content)), episodes=EPISODES, seed=EVALUATION_SEED)
        file = f"{quality:03d}.safetensors"
        (building / file).write_bytes(content)
        records.append(
            CheckpointRecord(
                quality=quality,
                file=file,
                sha256=sha256(content),
                environment_steps=point.environment_steps,
                minutes=point.minutes,
                returns_stochastic=returns[0].round(3).tolist(),
                returns_deterministic=returns[1].round(3).tolist(),
            )
        )
    evaluate.close()
    card = Card(
        family=family.name,
        method="CrossQ (sb3-contrib), one policy for all tasks, a task drawn per episode",
        seed=settings.seed,
        tasks=settings.tasks,
        evaluation_episodes=EPISODES,
        observation_size=family.observation_size,
        action_size=family.action_size,
        conditioning=conditioning_record(family),
        packages={"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
        checkpoints=records,
    )
    write_card(building, card)
    shutil.rmtree(folder.zoo, ignore_errors=True)
    building.rename(folder.zoo)
    return folder.zoo
