"""The page: everything it shows is in it, so one file can be mailed, archived or published.

All text that comes from the store is escaped; the page runs no script and loads nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clwm_data.errors import InvalidInputError, UnavailableError
from clwm_data.families.base import SPLITS, Split
from clwm_data.opening import open_store
from clwm_data.pages.charts import LegendEntry, legend_html
from clwm_data.pages.html import document, header, section, split_label, table, warning
from clwm_data.pages.numbers import column, number, plural
from clwm_data.pages.task_axis import parameter_title
from clwm_data.paths import check_page_place
from clwm_data.report.charts import coverage_chart, returns_chart, split_legend, trajectories_chart
from clwm_data.report.films import films
from clwm_data.report.sample import Sample, gather
from clwm_data.store.atomic import replacing
from clwm_data.store.format import TaskRecord
from clwm_data.store.history import history
from clwm_data.store.overview import store_bytes
from clwm_data.store.reader import Store
from clwm_data.store.summary import missing_provenance


def write_report(
    source: Path | str,
    out: Path | str,
    *,
    pictures: bool = True,
    on_progress: Callable[[int], object] | None = None,
) -> Path:
    """Write a page about a store.

    Args:
        source: the store.
        out: HTML file; an older one is replaced, and missing folders are made.
        pictures: also film some episodes, which needs a simulator and takes most of the time.
        on_progress: called with the index of each task that was read.

    Raises:
        NotFoundError: no such store.
        InvalidInputError: a store without tasks, or no page can be written at ``out``.
        DamagedDataError: a damaged store.
        UnavailableError: writing ``out`` fails.
    """
    store, out = open_store(source), Path(out)
    check_page_place(out)
    if not store.tasks:
        raise InvalidInputError(f"{source}: there are no tasks to report on yet: collect some first")
    page = _page(store, gather(store, on_progress), pictures)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with replacing(out) as temporary:
            temporary.write_text(page, encoding="utf-8", newline="\n")
    except OSError as error:
        raise UnavailableError(f"{out}: cannot be written: {error.strerror or error}") from error
    return out


def _page(store: Store, sample: Sample, pictures: bool) -> str:
    records = [task.record for task in store.tasks.values()]
    labels = dict.fromkeys(entry.label for record in records for entry in record.behaviours)
    series = {label: place for place, label in enumerate(labels)}
    shown = [task.record.index for task in sample.trajectories]
    legend = legend_html(split_legend([record.split for record in records]))
    sections = [
        _header(store, records),
        section("Provenance", "", _provenance(store)),
        section(
            "Returns",
            "Undiscounted return of every episode: the line spans all episodes of a task, the box the middle "
            "half of them, and the bar is the median.",
            returns_chart(store.family, records, sample).html("returns"),
        ),
        section("Tasks", "", _task_table(store.family, records)),
        *(
            section(title, _where(what, rows), legend + coverage_chart(rows, what).html(title.lower()))
            for title, what, rows in (
                ("States", "observation", sample.observations),
                ("Actions", "action", sample.actions),
            )
        ),
        section(
            "Rewards",
            "Reward per step in some episodes of some tasks of each split.",
            trajectories_chart(sample, series).html("rewards"),
        ),
    ]
    if pictures:
        note = (
            "The episode with the highest return of each of these tasks, simulated again from what is stored."
        )
        sections.append(section("Episodes", note, films(store, shown)))
    footer = f"Made by clwm from a store with content sha256 <code>{store.record.content_sha256}</code>"
    return document(store.name, sections, footer)


def _where(what: str, rows: Mapping[Split, NDArray[np.float32]]) -> str:
    """How to read the coverage of observations or actions."""
    entries = next(iter(rows.values())).shape[1]
    if entries == 1:
        return f"Share of the {what}s in each of some intervals, split by split."
    plane = "" if entries == 2 else ", in the plane that shows most of their variance"
    return (
        f"Where the {what}s lie, split by split{plane}. The more there are, the stronger the colour (on a "
        "logarithmic scale)."
    )


def _header(store: Store, records: Sequence[TaskRecord]) -> str:
    episodes = sum(record.episodes for record in records)
    transitions = sum(record.transitions for record in records)
    total = sum(record.statistics.returns.mean * record.episodes for record in records)
    tiles = {
        "task" if len(records) == 1 else "tasks": f"{len(records):,}",
        "episode" if episodes == 1 else "episodes": f"{episodes:,}",
        "transition" if transitions == 1 else "transitions": f"{transitions:,}",
        "steps per episode": number(transitions / episodes),
        "mean return": number(total / episodes),
    }
    rates = [(record.statistics.success_rate, record.episodes) for record in records]
    if all(rate is not None for rate, _ in rates):
        tiles["episodes solved"] = (
            f"{100 * sum((rate or 0.0) * count for rate, count in rates) / episodes:.0f} %"
        )
    tiles["on disk"] = f"{store_bytes(store) / 1e6:,.1f} MB"
    counts = {split: len(store.split(split)) for split in SPLITS if store.split(split)}
    bars = "".join(f'<div class="{split}" style="flex:{count}"></div>' for split, count in counts.items())
    legend = [LegendEntry(split, f"{split}: {plural(count, 'task')}") for split, count in counts.items()]
    return header(
        store.name,
        f"task family {store.family}",
        tiles,
        text=store.manifest.description.strip(),
        body=f'<div class="splits">{bars}</div>{legend_html(legend)}',
    )


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
    parts = [warning(line) for line in missing_provenance(store)]
    if store.missing_tasks:
        absent = len(store.missing_tasks)
        parts.append(
            warning(f"{plural(absent, 'task')} of the manifest {'is' if absent == 1 else 'are'} not here")
        )
    items = [f"<dt>{name}</dt><dd>{escape(value)}</dd>" for name, value in facts.items() if value]
    if provenance.command:
        items.append(f"<dt>command</dt><dd><code>{escape(provenance.command)}</code></dd>")
    if store.record.edited is not None:
        items.append(f"<dt>edited</dt><dd>{'<br>'.join(map(escape, history(store.record.edited)))}</dd>")
    parts.append(f"<dl>{''.join(items)}</dl>")
    rows = [(escape(entry.label), escape(entry.amount)) for entry in manifest.behaviours]
    parts.append(table(("behaviour", "per task"), rows, numeric=(1,)))
    return "".join(parts)


def _task_table(family: str, records: Sequence[TaskRecord]) -> str:
    returns = [record.statistics.returns for record in records]
    spread = column([value for task in returns for value in (task.mean, task.min, task.max)])
    columns: dict[str, Sequence[str]] = {
        "task": [str(record.index) for record in records],
        "split": [split_label(record.split) for record in records],
        "episodes": [f"{record.episodes:,}" for record in records],
        "transitions": [f"{record.transitions:,}" for record in records],
        "mean return": spread[0::3],
        "lowest": spread[1::3],
        "highest": spread[2::3],
    }
    if any(record.statistics.success_rate is not None for record in records):
        rates = [record.statistics.success_rate for record in records]
        columns["solved"] = ["" if rate is None else f"{100 * rate:.0f} %" for rate in rates]
    for name in dict.fromkeys(name for record in records for name in record.parameters):
        columns[escape(parameter_title(family, name))] = _parameter_column(records, name)
    numeric = [place for place, title in enumerate(columns) if title != "split"]
    return table(list(columns), zip(*columns.values(), strict=True), numeric=numeric, tall=len(records) > 15)


def _parameter_column(records: Sequence[TaskRecord], name: str) -> list[str]:
    """A parameter of every task, all with the same decimals; tuples in parentheses."""
    values = [record.parameters.get(name) for record in records]
    lists = [value if isinstance(value, list) else [] if value is None else [value] for value in values]
    texts = iter(column([entry for listed in lists for entry in listed]))
    cells = [[next(texts) for _ in listed] for listed in lists]
    return [
        f"({', '.join(cell)})" if isinstance(value, list) else "".join(cell)
        for value, cell in zip(values, cells, strict=True)
    ]
