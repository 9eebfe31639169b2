"""The dataset card: what the page of a dataset repository shows, and the metadata that searches use."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from clwm_data.errors import ConflictError
from clwm_data.families.base import SPLITS
from clwm_data.hub.install import install_line
from clwm_data.hub.parquet import PATTERN, configuration
from clwm_data.listing import format_parameters
from clwm_data.pages.markdown import cell, merge_card, table
from clwm_data.pages.numbers import plural
from clwm_data.paths import SUFFIX
from clwm_data.ranges import format_indices, task_list
from clwm_data.store.format import StoreRecord, TaskRecord
from clwm_data.store.history import describe_edit

TAGS = ("offline-reinforcement-learning", "meta-reinforcement-learning", "clwm", "zarr")
SIZES = ("n<1K", "1K<n<10K", "10K<n<100K", "100K<n<1M", "1M<n<10M", "10M<n<100M", "100M<n<1B", "1B<n<10B")
#: Licences that the Hub knows by the lower-case SPDX identifier.
LICENCES = frozenset(
    """
    apache-2.0 mit bsd-2-clause bsd-3-clause gpl-3.0 lgpl-3.0 agpl-3.0 mpl-2.0 unlicense
    cc0-1.0 cc-by-3.0 cc-by-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc-by-nc-4.0 cc-by-nc-sa-4.0 odbl odc-by pddl
    """.split()  # noqa: SIM905
)


@dataclass(frozen=True)
class CardStore:
    """What the card needs of one store.

    Attributes:
        record: root metadata.
        tasks: metadata of its tasks, ascending.
        parquet: paths of the Parquet files beside it.
    """

    record: StoreRecord
    tasks: Sequence[TaskRecord]
    parquet: Sequence[str] = ()

    @property
    def name(self) -> str:
        """Name of the dataset."""
        return self.record.manifest.name

    @property
    def transitions(self) -> int:
        """Transitions in all tasks."""
        return sum(task.transitions for task in self.tasks)


def dataset_card(repository: str, stores: Iterable[CardStore], existing: str = "") -> str:
    """The card of a repository.

    Args:
        repository: ``user/name``.
        stores: all stores in it.
        existing: its present card.

    Raises:
        InvalidInputError: the existing card's front matter is not YAML.
        ConflictError: people listed a configuration there that is called like a store.
    """
    stores = sorted(stores, key=lambda store: store.name)
    return merge_card(existing, lambda front: _front_matter(stores, front), _body(repository, stores))


def _front_matter(stores: Sequence[CardStore], existing: Mapping[str, Any]) -> dict[str, Any]:
    families = sorted({store.record.manifest.family for store in stores})
    tags = [tag for tag in existing.get("tags") or () if isinstance(tag, str)]
    number = sum(store.transitions for store in stores)
    configs = _configs(stores, existing)
    return {
        **_licence(stores),
        "task_categories": ["reinforcement-learning"],
        "tags": list(dict.fromkeys([*tags, *TAGS, *families])),
        "size_categories": [SIZES[min(max(len(str(number)) - 3, 0), len(SIZES) - 1)]],
        "viewer": None if configs else False,  # it cannot read Zarr
        "configs": configs or None,
    }


def _configs(stores: Sequence[CardStore], existing: Mapping[str, Any]) -> list[Any]:
    """What `datasets` can load: the Parquet files of the stores, and what people listed."""
    listed = existing.get("configs")
    others = [entry for entry in listed if not _is_generated(entry)] if isinstance(listed, list) else []
    ours = [configuration(store.name, store.parquet) for store in stores if store.parquet]
    names = [entry.get("config_name") for entry in others if isinstance(entry, dict)]
    for entry in ours:
        if (name := entry["config_name"]) in names:
            raise ConflictError(
                f"README.md: its configs list another {name!r}, as the Parquet files of the store would be "
                "called: rename it there, or push with --no-parquet"
            )
    return [*ours, *others]


def _is_generated(entry: object) -> bool:
    """Whether a push listed it; earlier ones listed the files of stores, which `datasets` cannot read."""
    return PATTERN.search(str(entry)) is not None or f"{SUFFIX}/" in str(entry)


def _licence(stores: Sequence[CardStore]) -> dict[str, Any]:
    stated = sorted({store.record.manifest.licence for store in stores if store.record.manifest.licence})
    known = [licence.lower() for licence in stated if licence.lower() in LICENCES]
    if not stated:
        return {}
    if len(known) == len(stated):
        return {"license": known[0] if len(known) == 1 else known, "license_name": None}
    return {"license": "other", "license_name": " and ".join(map(cell, stated))}


def _body(repository: str, stores: Sequence[CardStore]) -> list[str]:
    lines = [
        f"# {repository.split('/')[1]}",
        "",
        "Offline meta-reinforcement learning: many related tasks, each with its own dataset of episodes, to "
        "learn from and to adapt with. A store is one Zarr v3 hierarchy with a group per task; every file "
        "and every array has its SHA-256 in the metadata.",
        "",
    ]
    if len(stores) > 1:
        header = ("dataset", "family", "tasks", "episodes", "transitions")
        rows = [
            (f"[{s.name}](#{s.name.lower().replace('.', '')})", s.record.manifest.family, *_counts(s))
            for s in stores
        ]
        lines += [*table(header, rows), ""]
    for store in stores:
        lines += _store(store)
    trained = repository if len(stores) == 1 else f"hf://datasets/{repository}/{stores[0].name}{SUFFIX}"
    lines += [
        "## How to load it",
        "",
        "```python",
        f"import clwm_data  # {install_line()}",
        f'store = clwm_data.open_store("hf://datasets/{repository}/{stores[0].name}{SUFFIX}")',
        f"arrays = store.tasks[{stores[0].tasks[0].index}].load()  # downloads one task; NumPy arrays",
        "```",
        "",
        f"On the command line: `clwm pull {repository}` downloads it (`--tasks 0-9`, `--split train`, "
        f"`--revision TAG` choose), `clwm train {trained}` trains on it.",
        "",
        *_without_clwm(repository, stores),
        "## Citation",
        "",
        "```bibtex",
        *_citation(repository, stores),
        "```",
    ]
    return lines


def _without_clwm(repository: str, stores: Sequence[CardStore]) -> list[str]:
    """How to read the Parquet files, where there are any."""
    if not (store := next((store for store in stores if store.parquet), None)):
        return []
    split = next(iter(_splits(store)))
    return [
        "Without clwm, from the Parquet files beside it, one row per transition. They lack the observation "
        "after an episode's last step, seeds and simulator states, which the store has:",
        "",
        "```python",
        "import datasets",
        f'rows = datasets.load_dataset("{repository}", "{store.name}", split="{split}")',
        "```",
        "",
    ]


def _store(store: CardStore) -> list[str]:
    manifest, provenance = store.record.manifest, store.record.provenance
    splits = ", ".join(f"{split} {format_indices(indices)}" for split, indices in _splits(store).items())
    listed = manifest.tasks if isinstance(manifest.tasks, list) else []
    missing = sorted({*listed} - {task.index for task in store.tasks})
    facts = {
        "size": _size(store),
        "splits": splits,
        "not included": task_list(missing) if missing else "",
        "behaviours": "per task: " + "; ".join(entry.summary for entry in manifest.behaviours),
        "licence": manifest.licence or "unknown",
        "authors": ", ".join(manifest.authors) or "unknown",
        "collected": f"{provenance.created} on {provenance.platform} by `{provenance.command}`"
        if provenance.created
        else "",
        "versions": ", ".join(f"{name} {version}" for name, version in provenance.packages.items()),
        "recipe": _recipe(store),
        "edited": "" if store.record.edited is None else describe_edit(store.record.edited),
        "content": f"SHA-256 `{store.record.content_sha256}`",
    }
    success = any(task.statistics.success_rate is not None for task in store.tasks)
    header = ("task", "split", "parameters", "episodes", "transitions", "return", "min", "max")
    rows = [_row(task)[: len(header) + success] for task in store.tasks]
    return [
        f"## {store.name}",
        "",
        *([cell(manifest.description), ""] if manifest.description.strip() else []),
        *table(("family", manifest.family), [(key, text) for key, text in facts.items() if text]),
        "",
        f"![Returns of {store.name} per task]({store.name}.svg)",
        "",
        f"<details><summary>All {plural(len(store.tasks), 'task')}</summary>",
        "",
        *table((*header, "success") if success else header, rows),
        "",
        "</details>",
        "",
    ]


def _counts(store: CardStore) -> tuple[str, str, str]:
    episodes = sum(task.episodes for task in store.tasks)
    return str(len(store.tasks)), f"{episodes:,}", f"{store.transitions:,}"


def _size(store: CardStore) -> str:
    episodes = sum(task.episodes for task in store.tasks)
    counts = {"task": len(store.tasks), "episode": episodes, "transition": store.transitions}
    return ", ".join(plural(count, noun) for noun, count in counts.items())


def _splits(store: CardStore) -> dict[str, list[int]]:
    indices = {split: [task.index for task in store.tasks if task.split == split] for split in SPLITS}
    return {split: tasks for split, tasks in indices.items() if tasks}


def _recipe(store: CardStore) -> str:
    """How to collect the data again, if readers of the card can do so."""
    manifest = store.record.manifest
    file = f"[{store.name}.yaml]({store.name}.yaml), seed {manifest.seed}"
    if store.record.edited is not None or not store.record.provenance.created:
        return ""
    if any(entry.zoo is not None for entry in manifest.behaviours):
        return f"{file}; its policies are not included"
    return f"{file}: `clwm collect {store.name}.yaml` makes it again"


def _row(task: TaskRecord) -> tuple[str, ...]:
    returns, success = task.statistics.returns, task.statistics.success_rate
    return (
        str(task.index),
        task.split,
        format_parameters(task.parameters),
        f"{task.episodes:,}",
        f"{task.transitions:,}",
        f"{returns.mean:.2f}",
        f"{returns.min:.2f}",
        f"{returns.max:.2f}",
        "" if success is None else f"{success:.2f}",
    )


def _citation(repository: str, stores: Sequence[CardStore]) -> list[str]:
    authors = dict.fromkeys(author for store in stores for author in store.record.manifest.authors)
    year = max(store.record.provenance.created for store in stores)[:4]
    fields = {
        "title": f"{repository.split('/')[1]}: a dataset for offline meta-reinforcement learning",
        "author": " and ".join(f"{{{author}}}" for author in authors) or "unknown",
        "year": year,
        "url": f"https://huggingface.co/datasets/{repository}",
    }
    key = re.sub(r"\W+", "-", repository).strip("-")
    return [
        f"@misc{{{key},",
        *(f"  {name} = {{{cell(text)}}}," for name, text in fields.items()),
        "}",
    ]
