"""Success by benchmark, for families that join several."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from clwm_train.report.scores import Score

#: Columns of the table before those of the methods.
HEADER = ("dataset", "protocol", "split", "benchmark")


def group_methods(scores: Sequence[Score]) -> list[str]:
    """The methods that have successes by benchmark, in the order of the scores."""
    return list(dict.fromkeys(score.method for score in scores if score.group_success))


def group_rows(scores: Sequence[Score]) -> list[tuple[str | float | None, ...]]:
    """Mean success over tasks and seeds: a row per benchmark under ``HEADER``, with a column per method.

    ``None`` where a method was not evaluated on the benchmark.
    """
    methods = group_methods(scores)
    rows: dict[tuple[str, str, str, str], dict[str, float]] = {}
    for score in scores:
        for name, success in score.group_success.items():
            key = (score.dataset, score.protocol, score.split, name)
            rows.setdefault(key, {})[score.method] = float(np.mean(success))
    return [(*key, *(by_method.get(method) for method in methods)) for key, by_method in rows.items()]
