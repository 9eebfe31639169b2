"""Showing the results of an evaluation to the trackers of its run."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from clwm_train.evaluation.results import Evaluation
from clwm_train.runs.run import Run
from clwm_train.tracking.opening import open_trackers

#: Entry of a result -> its name in the table.
METRICS = {"return_mean": "return", "normalised_mean": "normalised return", "success": "success"}
#: Name of the table.
RESULTS = "results"


def track_evaluation(
    run: Run, evaluation: Evaluation, trackers: Sequence[str] | None, warn: Callable[[str], object]
) -> None:
    """Show the table of an evaluation beside the curves of each seed of a run.

    Args:
        run: the run.
        evaluation: its evaluation.
        trackers: names of trackers; ``None``: those that the run began with.
        warn: called with a line about a tracker that fails.

    Raises:
        InvalidInputError: there is no such tracker.
        MissingExtraError: its package is not installed.
    """
    opened = open_trackers(run, trackers, warn, step=evaluation.step)
    for seed, results in zip(run.record.seeds, evaluation.plain_results(), strict=True):
        rows = [
            (protocol, split, name, float(entry[key]))
            for protocol, splits in results.items()
            for split, entry in splits.items()
            for key, name in METRICS.items()
            if key in entry
        ]
        for tracker in opened:
            tracker.table(seed, RESULTS, ("protocol", "split", "metric", "value"), rows)
    for tracker in opened:
        tracker.close()
