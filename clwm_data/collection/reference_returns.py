"""Measuring the reference returns of a family."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from clwm_data.collection.plan import Segment
from clwm_data.collection.rollout import roll_out
from clwm_data.errors import InvalidInputError, NotFoundError
from clwm_data.families import TaskFamily
from clwm_data.manifest import LEARNED, BehaviourEntry, Manifest
from clwm_data.ranges import task_list
from clwm_data.references import ReferenceRecord
from clwm_data.store.atomic import replacing
from clwm_data.store.provenance import current_provenance
from clwm_data.yaml_text import dump_yaml
from clwm_data.zoo.card import read_card
from clwm_data.zoo.shipped import shipped_folder


def expert_entry(family: TaskFamily, episodes: int, zoo: str | None = None) -> BehaviourEntry:
    """The best behaviour of a family: that of a zoo if one is named, else the scripted one, else the best
    policy that ships with clwm.

    Raises:
        NotFoundError: the family has no such behaviour.
        InvalidInputError: the policies of the zoo were not trained on all tasks.
    """
    if zoo is None and "scripted" in family.behaviours:
        return BehaviourEntry(policy="scripted", episodes=episodes)
    if zoo is None and shipped_folder(family) is None:
        raise NotFoundError(
            f"family {family.name} has neither a script nor a trained policy: `clwm behaviour train "
            f"{family.name} --out RUN` makes one, --zoo RUN/zoo names it"
        )
    if zoo is not None:
        played = read_card(Path(zoo), family).tasks
        if missing := sorted(set(range(len(family.tasks))) - set(played)):
            raise InvalidInputError(
                f"{zoo}: does not play {task_list(missing)}: name policies trained on all tasks"
            )
    entry = BehaviourEntry(policy=LEARNED, checkpoint=100, deterministic=True, zoo=zoo, episodes=episodes)
    if (mistake := entry.mistake(family, range(len(family.tasks)))) is not None:
        raise InvalidInputError(f"{zoo}: {mistake[1]}")
    return entry


def measure_references(
    family: TaskFamily,
    *,
    episodes: int,
    seed: int = 0,
    zoo: str | None = None,
    on_progress: Callable[[], object] | None = None,
) -> ReferenceRecord:
    """Roll out random actions and the expert on every task.

    Args:
        family: task family.
        episodes: per task and policy.
        seed: seed of everything random.
        zoo: folder of the policies whose best one is the expert; see :func:`expert_entry` for the default.
        on_progress: called after each task.

    Raises:
        NotFoundError: there is no expert.
        InvalidInputError: the expert earns no more reward than random actions.
        MissingExtraError: a simulator is missing.
    """
    expert = expert_entry(family, episodes, zoo)
    manifest = Manifest(
        name=family.name,
        family=family.name,
        behaviours=[BehaviourEntry(policy="random", episodes=episodes), expert],
        seed=seed,
    ).resolved()
    means: list[list[float]] = [[], []]
    for task in range(len(family.tasks)):
        for behaviour in (0, 1):
            rolled = roll_out(manifest, Segment(task, behaviour, behaviour * episodes, episodes))
            returns = [float(episode.reward.sum(dtype=np.float64)) for episode in rolled]
            means[behaviour].append(round(float(np.mean(returns)), 3))
        if on_progress is not None:
            on_progress()
    record = ReferenceRecord(
        family=family.name,
        expert_policy=expert.policy,
        expert_sha256=manifest.behaviours[1].sha256,
        episodes=episodes,
        seed=seed,
        packages=current_provenance().packages,
        random=means[0],
        expert=means[1],
    )
    check_scale(record)
    return record


def check_scale(record: ReferenceRecord) -> None:
    """Refuse references that would reverse the scale of returns, as some of Meta-World's rewards do.

    Raises:
        InvalidInputError: the expert earns no more reward than random actions on some task.
    """
    pairs = zip(record.random, record.expert, strict=True)
    without = [task for task, (random, expert) in enumerate(pairs) if expert <= random]
    if without:
        raise InvalidInputError(
            f"{record.family}: the expert ({record.expert_policy}) gets no more reward than random actions "
            f"on {task_list(without)}: there is no scale; compare success rates, or name a better "
            "expert with --zoo"
        )


def write_references(folder: Path, record: ReferenceRecord) -> Path:
    """Write ``<family>.yaml``."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{record.family}.yaml"
    text = dump_yaml(record.model_dump(mode="json"), default_flow_style=None, width=110)
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")
    return path
