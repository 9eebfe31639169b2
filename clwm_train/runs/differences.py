"""Differences of runs, and of a run from its data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from clwm_train.config.train import RESUMABLE_KEYS

if TYPE_CHECKING:
    from clwm_train.runs.run import Run


def differences(before: Run, after: Run) -> list[str]:
    """Differences of two runs, apart from the number of updates and from what may change when a run is
    resumed: ``iql.expectile 0.8, not 0.9``."""
    return [
        f"{key} {old}, not {new}"
        for key, old, new in (
            *((key, getattr(before.record, key), getattr(after.record, key)) for key in ("method", "seeds")),
            *changed_keys(before.config.model_dump(), after.config.model_dump()),
            *((key, getattr(before.record, key), getattr(after.record, key)) for key in ("store_sha256",)),
        )
        if old != new and key.partition(".")[0] not in ("steps", *RESUMABLE_KEYS)
    ]


def changed_keys(
    before: Mapping[str, Any], after: Mapping[str, Any], above: str = "", *, both: bool = False
) -> Iterator[tuple[str, Any, Any]]:
    """Dotted keys whose values differ in two nested mappings, with both values; ``None`` where one is absent.

    Args:
        before: one mapping.
        after: the other.
        above: prefix of the keys.
        both: only keys that both have.
    """
    keys = before.keys() & after.keys() if both else before.keys() | after.keys()
    for key in sorted(keys):
        old, new = before.get(key), after.get(key)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            yield from changed_keys(old, new, f"{above}{key}.", both=both)
        elif old != new:
            yield f"{above}{key}", old, new
