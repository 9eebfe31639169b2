"""Linear probe: how well an affine map predicts the task parameters from z."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clwm_data.errors import InvalidInputError


def linear_probe(
    codes: ArrayLike, parameters: ArrayLike, held_out_codes: ArrayLike, held_out_parameters: ArrayLike
) -> NDArray[np.float64]:
    """R^2 of the least-squares affine map from z to task parameters, on held-out tasks.

    Args:
        codes: [n, z].
        parameters: [n, p].
        held_out_codes: [m, z].
        held_out_parameters: [m, p].

    Returns:
        [p], at most 1; 0: no better than the mean of the held-out tasks; NaN if a held-out parameter does
        not vary.

    Raises:
        InvalidInputError: the shapes do not match.
    """
    x, y = np.asarray(codes, np.float64), np.asarray(parameters, np.float64)
    x_test, y_test = np.asarray(held_out_codes, np.float64), np.asarray(held_out_parameters, np.float64)
    if len(x) != len(y) or len(x_test) != len(y_test) or x.shape[1] != x_test.shape[1]:
        raise InvalidInputError(
            f"codes {x.shape}, {x_test.shape} and parameters {y.shape}, {y_test.shape} do not fit"
        )
    weights = np.linalg.lstsq(_with_ones(x), y, rcond=None)[0]
    error = np.square(y_test - _with_ones(x_test) @ weights).sum(0)
    deviation = np.square(y_test - y_test.mean(0)).sum(0)
    r_squared: NDArray[np.float64] = 1.0 - np.divide(
        error, deviation, out=np.full_like(error, np.nan), where=deviation > 0
    )
    return r_squared


def _with_ones(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.concatenate([x, np.ones((len(x), 1))], 1)
