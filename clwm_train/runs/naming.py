"""Default names of runs and of their folders."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from clwm_data.paths import fitting_name
from clwm_data.ranges import format_indices
from clwm_data.store.digest import json_sha256


def default_label(method: str, overrides: Sequence[str] = ()) -> str:
    """Default label of a run: its method, and the keys that were overridden."""
    changes = dict(override.partition("=")[::2] for override in overrides)
    return " ".join(
        [Path(method).stem, *(f"{key.strip()}={changes[key].strip()}" for key in sorted(changes))]
    )


def default_folder(store_name: str, label: str, seeds: Sequence[int]) -> str:
    """Default name of a run's folder, from the store, the label and the seeds."""
    words = re.sub(r"[][{}'\"]", "", f"{store_name}-{label}")
    words = re.sub(r"[^\w.=+-]+", "-", words).strip("-.")
    name = f"{words}-s{format_indices(seeds)}"
    return fitting_name(name, json_sha256([store_name, label, list(seeds)]))
