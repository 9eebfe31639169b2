"""The model card of a trained agent, which its page on the Hub shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from statistics import fmean
from typing import Any

from clwm_data.hub.install import install_line
from clwm_data.pages.markdown import merge_card, table
from clwm_data.pages.numbers import plural
from clwm_data.ranges import task_list
from clwm_data.store.format import Origin
from clwm_train.evaluation.results import Evaluation, SplitResult
from clwm_train.runs.run import Run
from clwm_train.settings import DEFAULT_EVALUATION, describe, differences

TAGS = ("reinforcement-learning", "offline-reinforcement-learning", "meta-reinforcement-learning", "clwm")


@dataclass(frozen=True)
class CardAgent:
    """The content of an agent's model card.

    Attributes:
        run: the run that trained it.
        step: updates done.
        parameters: number of parameters of its networks.
        evaluations: evaluations of this checkpoint, the main one first.
        dataset: where the data are published, or ``None``.
    """

    run: Run
    step: int
    parameters: int
    evaluations: tuple[Evaluation, ...]
    dataset: Origin | None


def model_card(repository: str, agent: CardAgent, existing: str = "") -> str:
    """The card of a repository that holds one agent.

    Args:
        repository: ``user/name``.
        agent: the agent.
        existing: the existing card, or an empty text.

    Raises:
        ClwmError: the existing card's front matter is not YAML.
    """
    return merge_card(
        existing, lambda front: _front_matter(repository, agent, front), _body(repository, agent)
    )


def _front_matter(repository: str, agent: CardAgent, existing: Mapping[str, Any]) -> dict[str, Any]:
    record = agent.run.record
    tags = [tag for tag in existing.get("tags") or () if isinstance(tag, str)]
    results = [
        {
            "task": {"type": "reinforcement-learning", "name": f"{protocol}, {split} tasks"},
            "dataset": {
                "name": record.store_name,
                "type": record.family if agent.dataset is None else agent.dataset.repository,
            },
            "metrics": [
                {
                    "type": "mean_reward",
                    "name": "mean return",
                    "value": round(_mean(seeds, "return_mean"), 4),
                },
                *(
                    [{"type": "success", "name": "success rate", "value": round(_mean(seeds, "success"), 4)}]
                    if seeds[0].success is not None
                    else []
                ),
            ],
        }
        for evaluation in agent.evaluations[:1]
        for protocol, split, seeds in _rows(evaluation)
    ]
    return {
        "library_name": "clwm",
        "pipeline_tag": "reinforcement-learning",
        "tags": list(dict.fromkeys([*tags, *TAGS, record.family, PurePath(record.method).stem])),
        **({} if agent.dataset is None else {"datasets": [agent.dataset.repository]}),
        **({"model-index": [{"name": repository.split("/")[1], "results": results}]} if results else {}),
    }


def _body(repository: str, agent: CardAgent) -> list[str]:
    record = agent.run.record
    facts = {
        "method": f"{record.method}, preset {record.preset}, {plural(agent.step, 'update')}",
        "seeds": ", ".join(map(str, record.seeds)),
        "size": f"{agent.parameters:,} parameters",
        "dataset": _dataset(agent),
        "content of the data": f"SHA-256 `{record.store_sha256}`",
        "trained on": task_list(record.train_tasks),
        "trained": f"{record.created} on {record.platform}",
        "versions": ", ".join(f"{name} {version}" for name, version in record.packages.items()),
    }
    return [
        f"# {repository.split('/')[1]}",
        "",
        f"An agent that adapts to new tasks of the family `{record.family}`, trained offline on the tasks' "
        "datasets with contextual latent world models. It infers a task from transitions (few-shot) or while "
        "acting in it (zero-shot).",
        "",
        *table(("family", record.family), list(facts.items())),
        "",
        "## Evaluation",
        "",
        "Tasks of `id` and `ood` were not trained on; `id` is held out within the family's published split, "
        "`ood` is its out-of-distribution part.",
        "",
        *(line for evaluation in agent.evaluations for line in _evaluation(evaluation)),
        *(() if agent.evaluations else ("It was not evaluated: it learned where no environment was.", "")),
        "## How to use it",
        "",
        "```python",
        f"import clwm_train  # {install_line('train')}",
        f'agent = clwm_train.load_agent("{repository}")',
        "```",
        "",
        f"On the command line: `clwm eval {repository}` downloads and evaluates it.",
    ]


def _evaluation(evaluation: Evaluation) -> list[str]:
    """One evaluation: its settings, and the table of its results."""
    settings, rows = evaluation.settings, _rows(evaluation)
    unusual = differences(settings, DEFAULT_EVALUATION)
    seeds = f"{len(evaluation.results)} seeds; " if len(evaluation.results) > 1 else ""
    note = f" Not as published: {', '.join(name.replace('_', ' ') for name in unusual)}." if unusual else ""
    success = any(results[0].success is not None for _, _, results in rows)
    header = ("protocol", "split", "tasks", "mean return", "success")
    body = [
        (
            protocol,
            split,
            str(len(results[0].tasks)),
            _spread([result.return_mean for result in results]),
            "" if results[0].success is None else f"{_mean(results, 'success'):.2f}",
        )
        for protocol, split, results in rows
    ]
    columns = len(header) if success else len(header) - 1
    return [
        f"{seeds}{describe(settings)}.{note}",
        "",
        *table(header[:columns], [row[:columns] for row in body]),
        "",
    ]


def _dataset(agent: CardAgent) -> str:
    name, origin = agent.run.record.store_name, agent.dataset
    if origin is None:
        return f"{name} (not published)"
    url = f"https://huggingface.co/datasets/{origin.repository}/tree/{origin.revision}/{origin.store}"
    return f"[{origin.repository}/{origin.store}]({url}), revision `{origin.revision}`"


def _rows(evaluation: Evaluation) -> list[tuple[str, str, list[SplitResult]]]:
    """Protocol, split, and the result of every seed."""
    return [
        (protocol, split, [results[protocol][split] for results in evaluation.results])
        for protocol, parts in evaluation.results[0].items()
        for split in parts
    ]


def _mean(results: Sequence[SplitResult], key: str) -> float:
    return fmean(getattr(result, key) for result in results)


def _spread(values: Sequence[float]) -> str:
    if len(values) == 1:
        return f"{values[0]:.2f}"
    return f"{fmean(values):.2f} (seeds from {min(values):.2f} to {max(values):.2f})"
