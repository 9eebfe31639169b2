"""What ``print(store)`` and a notebook's cell show of a store."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from clwm_data.errors import ClwmError
from clwm_data.families.base import SPLITS

if TYPE_CHECKING:
    from clwm_data.store.reader import Store


def human_bytes(number: int) -> str:
    """A size for people: ``1.4 MB`` (decimal units)."""
    size = float(number)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def as_line(store: Store) -> str:
    """The store in one line; if it is damaged, what is wrong with it."""
    try:
        facts = "; ".join(f"{name}: {value}" for name, value in _facts(store).items())
    except ClwmError as error:
        return f"<Store {store.name}: {error}>"
    return f"<Store {store.name}: {facts}>"


def as_html(store: Store) -> str:
    """The store as a table."""
    from html import escape  # here, with the names of all characters: only notebooks show this

    try:
        facts = _facts(store)
    except ClwmError as error:
        facts = {"damaged": str(error)}
    rows = "".join(
        f'<tr><th style="text-align:left">{escape(name)}</th>'
        f'<td style="text-align:left">{escape(value)}</td></tr>'
        for name, value in facts.items()
    )
    return f"<table><caption>Store <b>{escape(store.name)}</b></caption>{rows}</table>"


def store_bytes(store: Store) -> int:
    """Size of the store's files."""
    files = sum(file.bytes for task in store for file in task.record.files.values())
    return files + len(store.root.text)


def _facts(store: Store) -> dict[str, str]:
    counts = Counter(task.split for task in store)
    splits = ", ".join(f"{counts[split]} {split}" for split in SPLITS if counts[split])
    return {
        "family": store.family,
        "tasks": f"{len(store):,}" + (f" ({splits})" if splits else ""),
        "episodes": f"{sum(task.record.episodes for task in store):,}",
        "transitions": f"{sum(task.record.transitions for task in store):,}",
        "size": human_bytes(store_bytes(store)),
        "path": str(store.path),
    }
