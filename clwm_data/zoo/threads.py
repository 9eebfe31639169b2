"""One thread for matrix products: those of a behaviour policy are too small to share out."""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import cache
from typing import Any

import numpy as np

from clwm_data.extras import require


def single_threaded() -> AbstractContextManager[Any]:
    """Context in which NumPy's products use one thread; their results are the same with any number.

    With several, threads wait for each other at every step of every episode; and where several processes
    collect, each would start as many threads as there are processors.
    """
    limiter: AbstractContextManager[Any] = _controller().limit(limits=1, user_api="blas")
    return limiter


@cache
def _controller() -> Any:
    np.ones((1, 1)) @ np.ones((1, 1))  # it knows the libraries that are loaded by now
    return require("threadpoolctl", "sim", "collecting").ThreadpoolController()
