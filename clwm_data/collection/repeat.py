"""Whether a user's policy gives the same episode twice: else no collection could be resumed or repeated."""

from __future__ import annotations

import numpy as np

from clwm_data.collection.plan import next_segments
from clwm_data.collection.rollout import roll_out
from clwm_data.errors import InvalidInputError
from clwm_data.manifest import Manifest


def check_repeats(manifest: Manifest, task: int) -> None:
    """Roll out the first segment of every policy of the user's on a task twice.

    Raises:
        InvalidInputError: the actions differ.
        ClwmError: as :func:`~clwm_data.collection.rollout.roll_out`.
    """
    if not manifest.task_family.deterministic:
        return  # then nothing repeats, whatever the policy does
    for number, entry in enumerate(manifest.behaviours):
        if not entry.is_users_own:
            continue
        segment = next_segments(manifest, task, number, [], 0)[0]
        first, again = roll_out(manifest, segment), roll_out(manifest, segment)
        for one, other in zip(first, again, strict=True):
            if not np.array_equal(one.action, other.action):
                raise InvalidInputError(
                    f"behaviours[{number}]: policy {entry.label}: does not repeat: the same episode twice "
                    "has different actions: draw all that is random from its generator, and keep nothing "
                    "between episodes; or record it (`clwm_data.Recorder`)"
                )
