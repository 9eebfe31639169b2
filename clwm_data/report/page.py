"""The page: everything it shows is in it, so one file can be mailed, archived or published.

All text that comes from the store is escaped; the page runs no script and loads nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any

from clwm_data.errors import ClwmError
from clwm_data.families.base import SPLITS
from clwm_data.opening import open_store
from clwm_data.pages.html import document, section, table
from clwm_data.pages.svg import number
from clwm_data.report.charts import coverage_chart, returns_chart, trajectories_chart
from clwm_data.report.films import films
from clwm_data.report.sample import Sample, gather
from clwm_data.store.atomic import replacing
from clwm_data.store.format import Edit, TaskRecord
from clwm_data.store.reader import Store
from clwm_data.store.summary import missing_provenance, store_bytes

COLOURS = 8  # of behaviours


def write_report(
    source: Path | str,
    out: Path | str,
    *,
    pictures: bool = True,
    progress: Callable[[int], object] | None = None,
) -> Path:
    """Write a page about a store.

    Args:
        source: the store.
        out: HTML file; an older one is replaced.
        pictures: also film some episodes, which takes a simulator and most of the time.
        progress: called after each task that was read.

    Raises:
        ClwmError: no such store, an empty or a damaged one, or ``out`` cannot be written.
    """
    store, out = open_store(source), Path(out)
    if not store.tasks:
        raise ClwmError(f"{source}: holds no tasks yet: there is nothing to report")
    page = _page(store, gather(store, progress), pictures)
    try:
        with replacing(out) as temporary:
            temporary.write_text(page, encoding="utf-8")
    except OSError as error:
        raise ClwmError(f"{out}: cannot be written: {error.strerror or error}") from error
    return out


def _page(store: Store, sample: Sample, pictures: bool) -> str:
    records = [task.record for task in store.tasks.values()]
    labels = list(dict.fromkeys(entry.label for record in records for entry in record.behaviours))
    colours = {label: position % COLOURS for position, label in enumerate(labels)}
    shown = [task.record.index for task in sample.trajectories]
    sections = [
        _header(store, records),
        section("Provenance", "", _provenance(store)),
        section(
            "Returns",
            "Undiscounted return of every episode: the line spans all episodes of a task, the box the middle "
            "half of them, and the bar is the median.",
            _split_legend(records) + returns_chart(records, sample),
        ),
        section("Tasks", "", _task_table(records)),
        section(
            "States",
            "Where the observations lie, split by split, in the plane that shows most of their variance; "
            "darker where there are more (logarithmic).",
            coverage_chart(sample.observations, "observation"),
        ),
        section("Actions", "The same for the actions.", coverage_chart(sample.actions, "action")),
        section(
            "Rewards",
            "Reward per step in some episodes of some tasks of each split.",
            _legend((f"b{colours[label]}", label) for label in labels) + trajectories_chart(sample, colours),
        ),
    ]
    if pictures:
        note = (
            "The episode with the highest return of each of these tasks, simulated again from what is stored."
        )
        sections.append(section("Episodes", note, films(store, shown)))
    footer = f"Made by clwm from a store with content sha256 <code>{store.record.content_sha256}</code>"
    return document(store.name, sections, footer)


def _header(store: Store, records: Sequence[TaskRecord]) -> str:
    episodes = sum(record.episodes for record in records)
    transitions = sum(record.transitions for record in records)
    total = sum(record.statistics.returns.mean * record.episodes for record in records)
    tiles = {
        "tasks": f"{len(records)}",
        "episodes": f"{episodes:,}",
        "transitions": f"{transitions:,}",
        "steps per episode": number(transitions / episodes),
        "mean return": number(total / episodes),
    }
    rates = [(record.statistics.success_rate, record.episodes) for record in records]
    if all(rate is not None for rate, _ in rates):
        tiles["episodes solved"] = (
            f"{100 * sum((rate or 0.0) * count for rate, count in rates) / episodes:.0f} %"
        )
    tiles["on disk"] = f"{store_bytes(store) / 1e6:,.1f} MB"
    bars = "".join(
        f'<div class="bg-{split}" style="flex:{len(store.split(split))}"></div>'
        for split in SPLITS
        if store.split(split)
    )
    boxes = [f"<div class=tile><b>{value}</b><span>{name}</span></div>" for name, value in tiles.items()]
    return (
        f"<header><h1>{escape(store.name)}</h1>"
        f'<p class="family">task family {escape(store.family)}</p>'
        f"<p>{escape(store.manifest.description.strip())}</p>"
        f'<div class="tiles">{"".join(boxes)}'
        f'</div><div class="splits">{bars}</div>{_split_legend(records)}</header>'
    )


def _split_legend(records: Sequence[TaskRecord]) -> str:
    counts = {split: sum(record.split == split for record in records) for split in SPLITS}
    return _legend((split, f"{split}: {count} tasks") for split, count in counts.items() if count)


def _legend(entries: Iterable[tuple[str, str]]) -> str:
    items = "".join(f'<span><i class="bg-{colour}"></i>{escape(label)}</span>' for colour, label in entries)
    return f'<div class="legend">{items}</div>'


def _provenance(store: Store) -> str:
    manifest, provenance = store.manifest, store.provenance
    facts = {
        "licence": manifest.licence,
        "authors": ", ".join(manifest.authors),
        "published": manifest.hub,
        "collected": provenance.created and f"{provenance.created} on {provenance.platform}",
        "seed": str(manifest.seed) if store.record.edited is None else None,
        "versions": ", ".join(f"{name} {version}" for name, version in provenance.packages.items()),
    }
    parts = [f'<p class="warning">{escape(line)}</p>' for line in missing_provenance(store)]
    if store.missing_tasks:
        parts.append(f'<p class="warning">{len(store.missing_tasks)} tasks of the manifest are not here</p>')
    items = [f"<dt>{name}</dt><dd>{escape(value)}</dd>" for name, value in facts.items() if value]
    if provenance.command:
        items.append(f"<dt>command</dt><dd><code>{escape(provenance.command)}</code></dd>")
    if store.record.edited is not None:
        items.append(f"<dt>edited</dt><dd>{_edit(store.record.edited)}</dd>")
    parts.append(f"<dl>{''.join(items)}</dl>")
    rows = [(escape(entry.label), entry.amount) for entry in manifest.behaviours]
    parts.append(table(("behaviour", "per task"), rows, numeric=(1,)))
    return "".join(parts)


def _edit(edited: Edit) -> str:
    """A line per edit, the latest first, each followed by what it was made from."""
    options = ", ".join(f"{name} {value}" for name, value in edited.options.items())
    lines = [f"{edited.by.created}: {edited.operation}" + (f" ({options})" if options else "")]
    text = escape(lines[0])
    for source in edited.sources:
        text += f"<br>from {escape(source.name)} <code>{source.content_sha256[:12]}</code>"
        if source.edited is not None:
            text += f", itself {_edit(source.edited)}"
    return text


def _task_table(records: Sequence[TaskRecord]) -> str:
    solved = any(record.statistics.success_rate is not None for record in records)
    header = ["task", "split", "episodes", "transitions", "mean return", "lowest", "highest"]
    rows = []
    for record in records:
        returns = record.statistics.returns
        row: list[str] = [
            str(record.index),
            f'<span class="{record.split}"><span class="split">{record.split}</span></span>',
            f"{record.episodes:,}",
            f"{record.transitions:,}",
            number(returns.mean),
            number(returns.min),
            number(returns.max),
        ]
        if solved:
            rate = record.statistics.success_rate
            row.append("" if rate is None else f"{100 * rate:.0f} %")
        row.append(escape(", ".join(f"{name} {_value(value)}" for name, value in record.parameters.items())))
        rows.append(row)
    header += ["solved", "parameters"] if solved else ["parameters"]
    return table(header, rows, numeric=(0, 2, 3, 4, 5, 6, 7) if solved else (0, 2, 3, 4, 5, 6), tall=True)


def _value(value: Any) -> str:
    return f"({', '.join(map(number, value))})" if isinstance(value, list) else number(value)
