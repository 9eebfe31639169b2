"""The model card: what a trained agent's page on the Hub shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from clwm_data.pages.markdown import merge_card, table
from clwm_data.ranges import format_indices
from clwm_data.store.format import Origin
from clwm_train.evaluate.results import Evaluation, SplitResult
from clwm_train.runs.run import Run

TAGS = ("reinforcement-learning", "offline-reinforcement-learning", "meta-reinforcement-learning", "clwm")


@dataclass(frozen=True)
class CardAgent:
    """What the card tells about an agent.

    Attributes:
        run: that trained it.
        step: updates done.
        parameters: numbers in its networks.
        evaluation: of this checkpoint.
        dataset: where the data is published, or ``None``.
    """

    run: Run
    step: int
    parameters: int
    evaluation: Evaluation
    dataset: Origin | None


def model_card(repository: str, agent: CardAgent, existing: str = "") -> str:
    """The card of a repository that holds one agent.

    Args:
        repository: ``user/name``.
        agent: in it.
        existing: the card that it has.

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
                {"type": "mean_reward", "name": "mean return", "value": round(_mean(of, "return_mean"), 4)},
                *(
                    [{"type": "success", "name": "success rate", "value": round(_mean(of, "success"), 4)}]
                    if of[0].success is not None
                    else []
                ),
            ],
        }
        for protocol, split, of in _rows(agent.evaluation)
    ]
    return {
        "library_name": "clwm",
        "pipeline_tag": "reinforcement-learning",
        "tags": list(dict.fromkeys([*tags, *TAGS, record.family, record.method])),
        **({} if agent.dataset is None else {"datasets": [agent.dataset.repository]}),
        "model-index": [{"name": repository.split("/")[1], "results": results}],
    }


def _body(repository: str, agent: CardAgent) -> list[str]:
    record, evaluation = agent.run.record, agent.evaluation
    success = any(of[0].success is not None for _, _, of in _rows(evaluation))
    header = ("protocol", "split", "tasks", "mean return", "success")
    rows = [
        (
            protocol,
            split,
            str(len(of[0].tasks)),
            _spread([result.return_mean for result in of]),
            "" if of[0].success is None else f"{_mean(of, 'success'):.2f}",
        )
        for protocol, split, of in _rows(evaluation)
    ]
    facts = {
        "method": f"{record.method}, preset {record.preset}, {agent.step:,} updates",
        "seeds": ", ".join(map(str, record.seeds)),
        "size": f"{agent.parameters:,} parameters",
        "dataset": _dataset(agent),
        "content of the data": f"SHA-256 `{record.store_sha256}`",
        "trained on": f"tasks {format_indices(record.train_tasks)}",
        "trained": f"{record.created} on {record.platform}",
        "versions": ", ".join(f"{name} {version}" for name, version in record.packages.items()),
    }
    columns = len(header) if success else len(header) - 1
    seeds = f", {len(record.seeds)} seeds" if len(record.seeds) > 1 else ""
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
        f"{evaluation.episodes} episodes per task{seeds}; few-shot contexts of {evaluation.context_size} "
        f"transitions.{_settings(evaluation)} Tasks of `id` and `ood` were not trained on; those of `ood` "
        "lie outside the range of the others.",
        "",
        *table(header[:columns], [row[:columns] for row in rows]),
        "",
        "## How to use it",
        "",
        "```python",
        "from clwm_train.hub.agents import load_published  # pip install 'clwm[train]'",
        f'agent = load_published("{repository}")',
        "```",
        "",
        f"On the command line: `clwm eval {repository}` downloads and evaluates it.",
    ]


def _settings(evaluation: Evaluation) -> str:
    """What was not as published."""
    unusual = []
    if evaluation.prior != "zero" or evaluation.prior_weight:
        unusual.append(f"prior: {evaluation.prior} z, weight {evaluation.prior_weight:g}")
    if evaluation.inference != "encoder":
        unusual.append(f"tasks inferred by the {evaluation.inference}")
    if evaluation.noise:
        unusual.append(f"actions with {evaluation.noise:g} times the policy's noise")
    return f" Not as published: {'; '.join(unusual)}." if unusual else ""


def _dataset(agent: CardAgent) -> str:
    name, origin = agent.run.record.store_name, agent.dataset
    if origin is None:
        return f"{name} (not published)"
    url = f"https://huggingface.co/datasets/{origin.repository}/tree/{origin.revision}/{origin.store}"
    return f"[{origin.repository}/{origin.store}]({url}), revision `{origin.revision}`"


def _rows(evaluation: Evaluation) -> list[tuple[str, str, list[SplitResult]]]:
    """Protocol, split, and the result of every seed."""
    return [
        (protocol, split, [of[protocol][split] for of in evaluation.results])
        for protocol, parts in evaluation.results[0].items()
        for split in parts
    ]


def _mean(results: Sequence[SplitResult], key: str) -> float:
    return fmean(getattr(result, key) for result in results)


def _spread(values: Sequence[float]) -> str:
    if len(values) == 1:
        return f"{values[0]:.2f}"
    return f"{fmean(values):.2f} (seeds from {min(values):.2f} to {max(values):.2f})"
