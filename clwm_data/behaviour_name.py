"""Short names of behaviours."""

from __future__ import annotations

import re


def behaviour_name(label: str) -> str:
    """A behaviour's label as one word: ``learned 25 %`` and ``learned-025`` become ``learned-25``,
    ``scripted, noise 0.3`` becomes ``scripted-noise-0.3``.
    """
    words = re.sub(r"[^\w.]+", "-", label.strip().lower()).strip("-")
    return re.sub(r"(?<![\d.])0+(?=\d)", "", words)
