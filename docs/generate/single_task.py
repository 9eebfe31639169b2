"""Agents trained on a single task, for comparison with the task-conditioned policies.

``python -m docs.generate.single_task RUN/zoo ...`` adds results of ``clwm behaviour train FAMILY --tasks I``.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import Field

from clwm_data.errors import InvalidInputError, NotFoundError
from clwm_data.families.registry import get_family
from clwm_data.strict import StrictModel, build_model, read_yaml
from clwm_data.zoo.card import CARD, Card, read_card
from clwm_data.zoo.shipped import shipped_folder

FILE = Path(__file__).with_name("single-task.yaml")


class SingleTaskRecord(StrictModel):
    """The best policy of a run on one task.

    Attributes:
        family: task family.
        task: index of the task.
        seed: of the run.
        environment_steps: of the best policy.
        episodes: that the return is the mean of.
        best: mean return without noise.
    """

    family: str
    task: Annotated[int, Field(ge=0)]
    seed: int
    environment_steps: Annotated[int, Field(ge=0)]
    episodes: Annotated[int, Field(ge=1)]
    best: Annotated[float, Field(allow_inf_nan=False)]


class SingleTaskRecords(StrictModel):
    """All runs on single tasks, by family and task."""

    runs: list[SingleTaskRecord]


def single_task_records(file: Path = FILE) -> list[SingleTaskRecord]:
    """The recorded runs; none if there is no file.

    Raises:
        ClwmError: the file is damaged.
    """
    return build_model(SingleTaskRecords, read_yaml(file)).runs if file.is_file() else []


def record_of(card: Card) -> SingleTaskRecord:
    """The result of a run.

    Raises:
        ClwmError: it was trained on several tasks.
    """
    if len(card.tasks) != 1:
        raise InvalidInputError(f"{card.family}: a run on tasks {card.tasks}: name runs with one task each")
    best = card.checkpoints[-1]
    return SingleTaskRecord(
        family=card.family,
        task=card.tasks[0],
        seed=card.seed,
        environment_steps=best.environment_steps,
        episodes=card.evaluation_episodes,
        best=best.returns_deterministic[0],
    )


def compared(record: SingleTaskRecord) -> tuple[float, float]:
    """Mean return of the family's best checkpoint on the same task, and its ratio to the single-task agent's.

    Both returns are counted from that of random actions, since returns may be negative.

    Raises:
        ClwmError: the family ships no policies, or random actions were not measured.
    """
    family = get_family(record.family)
    folder = shipped_folder(family)
    if folder is None:
        raise NotFoundError(f"{record.family}: ships no policies to compare with")
    card = read_card(folder, family)
    ours = card.checkpoints[-1].returns_deterministic[card.tasks.index(record.task)]
    random, _ = family.reference_returns(record.task)
    return ours, (ours - random) / (record.best - random)


def add(zoos: Sequence[Path], file: Path = FILE) -> None:
    """Add the results of runs; a later run on the same task replaces an earlier one."""
    kept = {(record.family, record.task): record for record in single_task_records(file)}
    for zoo in zoos:
        record = record_of(build_model(Card, read_yaml(zoo / CARD)))
        kept[record.family, record.task] = record
    rows = [kept[key].model_dump() for key in sorted(kept)]
    file.write_text(yaml.safe_dump({"runs": rows}, sort_keys=False), encoding="utf-8")


if __name__ == "__main__":
    add([Path(argument) for argument in sys.argv[1:]])
