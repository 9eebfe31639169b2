"""The result tables, drawn: every method (SPC and its ablations, baselines) on every dataset."""

from __future__ import annotations

from collections.abc import Sequence

from clwm_train.metrics.aggregate import Interval, aggregate, iqm, mean
from clwm_train.report.figure import Figure, bars, colours, name_row, panels, present
from clwm_train.report.returns import PARTS
from clwm_train.report.scores import Score


def datasets_figure(scores: Sequence[Score], methods: Sequence[str]) -> Figure | None:
    """Returns of every method on every dataset, also on those that not all methods were run on.

    ``None`` where the aggregate returns say it already: with a single dataset whose expert is known.
    """
    of = {(score.dataset, score.protocol, score.split, score.method): score for score in scores}
    datasets = list(dict.fromkeys(score.dataset for score in scores))
    parts = [part for part in PARTS if any((score.protocol, score.split) == part for score in scores)]
    shown = present(methods, [{score.method for score in scores}])
    if not parts or (len(datasets) == 1 and all(score.normalised is not None for score in scores)):
        return None
    colour, rows = colours(methods), []
    size = (2.2 + 2.1 * len(parts), 0.6 + len(datasets) * (0.5 + 0.27 * len(shown)))
    with panels(len(datasets), len(parts), size) as (figure, axes):
        for dataset, line in zip(datasets, axes, strict=True):
            for axis, part in zip(line, parts, strict=True):
                here = {method: of[key] for method in shown if (key := (dataset, *part, method)) in of}
                found = {method: summary(score) for method, score in here.items()}
                bars(axis, [(method, found.get(method)) for method in shown], colour, names=axis is line[0])
                rows += [
                    (dataset, *part, method, _scale(here[method]), value.point, value.low, value.high)
                    for method, value in found.items()
                ]
            scale = _scale(next(score for score in scores if score.dataset == dataset))
            name_row(line[0], dataset, scale)
        for axis, (protocol, split) in zip(axes[0], parts, strict=True):
            axis.set_title(f"{protocol}, {split}")
    return Figure(
        "datasets",
        "Returns on each dataset",
        "IQM of the normalised returns (0: random actions, 1: the expert) over unseen tasks and seeds, the "
        "mean return where the expert is not known, with 95 % stratified bootstrap intervals. Each panel has "
        "a scale of its own.",
        figure,
        ("dataset", "protocol", "split", "method", "scale", "point", "low", "high"),
        rows,
    )


def summary(score: Score) -> Interval:
    """The IQM of the normalised returns, or the mean return where there is no scale."""
    return aggregate(score.returns, mean) if score.normalised is None else aggregate(score.normalised, iqm)


def _scale(score: Score) -> str:
    return "return" if score.normalised is None else "normalised"
