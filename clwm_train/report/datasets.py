"""The figure of the result tables: every method on every dataset."""

from __future__ import annotations

from collections.abc import Sequence

from clwm_data.pages.charts import Chart
from clwm_train.report.figure import Figure, common_axis, estimates, estimates_width, method_classes, present
from clwm_train.report.returns import PARTS
from clwm_train.report.scores import Score


def datasets_figure(scores: Sequence[Score], methods: Sequence[str]) -> Figure | None:
    """Returns of every method on every dataset, including datasets that not all methods were run on.

    ``None`` for a single dataset with a known expert, which the figure of aggregates already shows.
    """
    by_key = {(score.dataset, score.protocol, score.split, score.method): score for score in scores}
    datasets = list(dict.fromkeys(score.dataset for score in scores))
    parts = [part for part in PARTS if any((score.protocol, score.split) == part for score in scores)]
    shown = present(methods, [{score.method for score in scores}])
    if not parts or (len(datasets) == 1 and all(score.normalised is not None for score in scores)):
        return None
    summaries = {key: score.estimate for key, score in by_key.items() if key[1:3] in parts}
    normalised = common_axis(
        [value for key, value in summaries.items() if by_key[key].normalised is not None],
        "normalised return",
        low=0.0,
        high=1.0,
    )
    css, width = method_classes(methods), estimates_width(shown)
    panels, rows = [], []
    for dataset in datasets:
        here = [value for key, value in summaries.items() if key[0] == dataset]
        points = [value.point for value in here]
        raw = any(score.normalised is None for score in scores if score.dataset == dataset)
        axis = common_axis(here, "return", low=min(points), high=max(points)) if raw else normalised
        for protocol, split in parts:
            values = {method: summaries.get((dataset, protocol, split, method)) for method in shown}
            panels.append(estimates(values, css, axis, f"{dataset}: {protocol}, {split}", width=width))
            rows += [
                (dataset, protocol, split, method, "return" if raw else "normalised", *ends)
                for method, value in values.items()
                if value is not None
                for ends in [(value.point, value.low, value.high)]
            ]
    return Figure(
        "datasets",
        "Returns on each dataset",
        "IQM of the normalised returns (0: random actions, 1: the expert) over unseen tasks and seeds, the "
        "mean return where the expert is not known, with 95 % stratified bootstrap intervals. All panels of "
        "normalised returns, and all panels of one dataset, have the same axis.",
        Chart(panels, "Returns on each dataset", columns=min(4, len(parts)) if len(parts) > 1 else 3),
        ("dataset", "protocol", "split", "method", "scale", "point", "low", "high"),
        rows,
    )
