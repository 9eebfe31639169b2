"""The goals of Meta-World's ML1 benchmarks: ``python -m docs.generate.metaworld_goals``.

Writes ``clwm_data/families/metaworld/goals.npz``: for each benchmark the vectors [50, 3 or 6] that metaworld
draws for the train tasks of ``ML1("<name>-v3", seed=42)``.
"""

from __future__ import annotations

import pickle

import metaworld
import numpy as np
from numpy.typing import NDArray

from clwm_data.families.metaworld.goals import FILE
from clwm_data.families.metaworld.names import TASK_NAMES

SEED = 42


def drawn(name: str) -> NDArray[np.float64]:
    """The vectors that metaworld draws for a benchmark, in the order of its tasks."""
    tasks = metaworld.ML1(f"{name}-v3", seed=SEED).train_tasks
    return np.asarray([pickle.loads(task.data)["rand_vec"] for task in tasks], np.float64)


if __name__ == "__main__":
    np.savez_compressed(FILE, **{name: drawn(name) for name in TASK_NAMES})  # type: ignore[arg-type]
