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
        InvalidInputError: the shapes do not match, there are no rows, or a number is not finite.
    """
    x, y = np.asarray(codes, np.float64), np.asarray(parameters, np.float64)
    x_test, y_test = np.asarray(held_out_codes, np.float64), np.asarray(held_out_parameters, np.float64)
    arrays = (x, y, x_test, y_test)
    if any(array.ndim != 2 or not len(array) for array in arrays) or (
        (len(x), len(x_test), x.shape[1], y.shape[1])
        != (len(y), len(y_test), x_test.shape[1], y_test.shape[1])
    ):
        raise InvalidInputError(
            f"codes {x.shape}, {x_test.shape} and parameters {y.shape}, {y_test.shape} do not fit"
        )
    if not all(np.isfinite(array).all() for array in arrays):
        raise InvalidInputError("a code or a parameter is NaN or infinite: leave it out")
    weights = np.linalg.lstsq(_with_ones(x), y, rcond=None)[0]
    error = np.square(y_test - _with_ones(x_test) @ weights).sum(0)
    deviation = np.square(y_test - y_test.mean(0)).sum(0)
    # The mean of equal numbers may be rounded, so that they seem to deviate from it.
    varies = np.ptp(y_test, axis=0) > 0
    r_squared: NDArray[np.float64] = 1.0 - np.divide(
        error, deviation, out=np.full_like(error, np.nan), where=varies
    )
    return r_squared


def _with_ones(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.concatenate([x, np.ones((len(x), 1))], 1)
