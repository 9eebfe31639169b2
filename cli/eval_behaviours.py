"""``clwm eval --context-behaviour all``: contexts of each behaviour of the data in turn."""

from __future__ import annotations

from collections.abc import Callable
from statistics import fmean
from typing import TYPE_CHECKING, Any

import click

from .common import echo_json, echo_table

if TYPE_CHECKING:
    from clwm_data.store import Store
    from clwm_train.evaluation.results import Evaluation
    from clwm_train.runs.run import Run
    from clwm_train.settings import EvaluationSettings

#: Stands for each behaviour in turn.
EACH = "all"
#: What contexts from a task's whole data are called.
WHOLE = "(all data)"


def evaluate_behaviours(
    evaluate_with: Callable[[EvaluationSettings], Evaluation],
    settings: EvaluationSettings,
    data: Store,
    run: Run,
    keep: Callable[[Run, Evaluation], None] | None,
    as_json: bool,
) -> None:
    """Evaluate few-shot with contexts of all data, then of each behaviour; keep and print the results.

    Args:
        evaluate_with: evaluates the run.
        settings: settings of all evaluations but their behaviour and protocols.
        data: store of the contexts.
        run: the run.
        keep: keeps an evaluation.
        as_json: print all results as JSON, by behaviour.
    """
    evaluations: dict[str, Evaluation] = {}
    for name in (None, *behaviours(data, settings)):
        changed = settings.model_copy(update={"protocols": ("few-shot",), "context_behaviour": name})
        evaluation = evaluate_with(changed)
        evaluations[name or WHOLE] = evaluation
        if keep is not None:
            keep(run, evaluation)
    if as_json:
        echo_json({name: evaluation.plain_results() for name, evaluation in evaluations.items()})
        return
    click.echo(f"{run.path}: {run.record.method} on {run.record.store_name}, mean over seeds")
    splits = [
        split
        for split in settings.splits
        if any(split in seed["few-shot"] for one in evaluations.values() for seed in one.results)
    ]
    entries: dict[str, list[Any]] = {name: [] for name in evaluations}
    for name, evaluation in evaluations.items():
        for split in splits:
            parts = [seed["few-shot"][split] for seed in evaluation.results if split in seed["few-shot"]]
            scaled = [part.normalised_mean for part in parts if part.normalised_mean is not None]
            entries[name].append(f"{fmean(part.return_mean for part in parts):.2f}" if parts else "-")
            entries[name].append(f"{fmean(scaled):.3f}" if scaled else "-")
    header = [f"{split}: {what}" for split in splits for what in ("return", "normalised")]
    echo_table(("context", *header), [(name, *row) for name, row in entries.items()])


def behaviours(data: Store, settings: EvaluationSettings) -> list[str]:
    """Names of all behaviours of the tasks of the evaluated splits, in their order."""
    tasks = [task for task in data.tasks.values() if task.split in settings.splits]
    return list(dict.fromkeys(name for task in tasks for name in task.behaviours))
