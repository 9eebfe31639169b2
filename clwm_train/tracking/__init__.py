"""Trackers: who else shows the metrics of a run, beside its metrics.jsonl."""

from clwm_train.tracking.base import Tracked, Tracker
from clwm_train.tracking.opening import DEFAULT, TRACKERS, check_trackers, open_trackers

__all__ = ["DEFAULT", "TRACKERS", "Tracked", "Tracker", "check_trackers", "open_trackers"]
