"""Evaluations while training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from clwm_data.errors import InvalidInputError
from clwm_data.store import Store
from clwm_train.acting.context import RememberingTask
from clwm_train.evaluation.protocols import Results, evaluate, tasks_in
from clwm_train.model.agent import Agent
from clwm_train.runs.run import Run
from clwm_train.settings import EvaluationSettings
from clwm_train.training.trainer import Evaluator

#: Entry of a result -> name of the metric.
METRICS = {"return_mean": "return", "normalised_mean": "normalised_return", "success": "success"}


def training_evaluator(run: Run, store: Store) -> Evaluator | None:
    """Evaluates the agent of a run while it is trained; ``None`` if the configuration has no evaluations.

    The metrics of each seed are ``<protocol>/<split>/return``, ``.../normalised_return`` if the family has
    reference returns, and ``.../success`` if it has success. They use no random numbers of the training.

    Raises:
        NotFoundError: the family is known from its data alone.
        InvalidInputError: the family has no task in the splits, or the store holds no data of the tasks that
            a few-shot evaluation needs.
    """
    config = run.config.evaluation
    if config is None:
        return None
    settings = EvaluationSettings(protocols=config.protocols, splits=config.splits, episodes=config.episodes)
    family = run.task_family
    family.require_gymnasium()
    tasks_in(family, config.splits)
    tasks = {
        index: RememberingTask(task) for index, task in store.tasks.items() if task.split in config.splits
    }
    if "few-shot" in config.protocols and not tasks:
        raise InvalidInputError(
            f"{store.path}: holds no {' or '.join(config.splits)} tasks, which few-shot evaluations "
            "while training need: name other splits (--eval-split), or --eval-protocol zero-shot"
        )

    def evaluator(agent: Agent) -> Sequence[Mapping[str, float]]:
        return [
            _metrics(results, config.protocols, config.splits)
            for results in evaluate(agent, family, tasks, settings)
        ]

    return evaluator


def _metrics(results: Results, protocols: Sequence[str], splits: Sequence[str]) -> dict[str, float]:
    """The numbers of one seed, in the order of the configuration."""
    return {
        f"{protocol}/{split}/{name}": results[protocol][split][entry]
        for protocol in protocols
        for split in splits
        for entry, name in METRICS.items()
        if entry in results.get(protocol, {}).get(split, {})
    }
