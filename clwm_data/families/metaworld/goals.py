"""Where Meta-World places objects and goals: drawn by metaworld 3.0 once, and kept.

Drawing them takes seconds per benchmark, and would depend on the version of metaworld.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

FILE = Path(__file__).with_name("goals.npz")


@cache
def goal_vectors(name: str) -> NDArray[np.float64]:
    """Vectors [50, 3 or 6] of the train tasks of ``ML1("<name>-v3", seed=42)``, in their order, in metres.

    The first three numbers place the object, the others the goal, unless that follows from the object.
    """
    with np.load(FILE) as file:
        vectors: NDArray[np.float64] = file[name]
    vectors.setflags(write=False)
    return vectors
