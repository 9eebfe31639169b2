"""Whether a store holds the data that a run began with."""

from __future__ import annotations

from clwm_data.errors import ConflictError, InvalidInputError
from clwm_data.ranges import format_indices
from clwm_data.store import Store
from clwm_train.runs.run import RECORD, Run


def check_same_data(run: Run, store: Store) -> None:
    """Refuse to continue with data other than those the run began with, or than it says that it began with.

    Raises:
        ConflictError: the store's content differs.
        InvalidInputError: the run's record contradicts the store.
    """
    if store.record.content_sha256 != run.record.store_sha256:
        raise ConflictError(
            f"{run.path}: began with other data than {store.path} holds now "
            f"(sha256 {run.record.store_sha256[:12]}, now {store.record.content_sha256[:12]}): "
            f"restore the data, or start a new run"
        )
    family, record = store.task_family, run.record
    holds = {
        "family": store.family,
        "observation_size": family.observation_size,
        "action_size": family.action_size,
        "train_tasks": store.split("train"),
    }
    for key, value in holds.items():
        if getattr(record, key) != value:
            said, found = (
                format_indices(one) if isinstance(one, tuple) else one
                for one in (getattr(record, key), value)
            )
            raise InvalidInputError(
                f"{run.path / RECORD}: says {key} {said}, but {store.path} has {found}: put back the "
                f"{RECORD} of that run"
            )
