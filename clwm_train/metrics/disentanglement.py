"""How far single entries of z represent single factors of the tasks: DCI and InfoMEC.

Codes are [n, D] and factors [n, F]: each row is an inferred z and the true factors. Both need scikit-learn.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clwm_data.errors import InvalidInputError
from clwm_data.extras import require

Floats = NDArray[np.float64]

#: Code entries whose spread is below this share of the largest one are pruned (Hsu et al. 2023).
ACTIVE_SHARE = 0.05
#: Inverse weight of the logistic regression's penalty: just enough to keep separable classes finite.
PENALTY = 1e3
#: Neighbours k of the nearest-neighbour estimator of mutual information.
NEIGHBOURS = 10


@dataclass(frozen=True)
class DCI:
    """Disentanglement, completeness, informativeness (Eastwood & Williams 2018).

    Attributes:
        disentanglement: in [0, 1]; 1: every code entry is important for only one factor.
        completeness: in [0, 1]; 1: only one code entry is important for each factor.
        informativeness: mean R^2 of the factors' predictions on held-out data; at most 1.
        importance: [D, F] relative importance of each code entry to each factor; columns add up to 1 (or 0).
    """

    disentanglement: float
    completeness: float
    informativeness: float
    importance: Floats


@dataclass(frozen=True)
class InfoMEC:
    """Modularity, explicitness, compactness (Hsu et al. 2023, arXiv 2305.18378).

    Attributes:
        modularity: in [0, 1]; 1: every active code entry is informative about only one factor.
        explicitness: share of a factor's entropy that a linear classifier removes, on held-out data, mean
            over factors; at most 1, and negative if the classifier does worse than the base rate.
        compactness: in [0, 1]; 1: only one code entry is informative about each factor. ``None`` with one
            active entry.
        information: [F, D] mutual information over the factor's entropy.
        active: [D] bool, the code entries that count.
    """

    modularity: float
    explicitness: float
    compactness: float | None
    information: Floats
    active: NDArray[np.bool_]


def dci(
    codes: ArrayLike,
    factors: ArrayLike,
    held_out_codes: ArrayLike,
    held_out_factors: ArrayLike,
    *,
    seed: int = 0,
) -> DCI:
    """DCI with gradient-boosted trees: fitted to one part of the data, scored on another.

    With P_ij the importance of entry i for factor j, divided by the sum of row i, an entry's disentanglement
    is 1 - H(P_i) / log F; the mean weights entries by their share of all importance. With column sums
    instead, a factor's completeness is 1 - H / log D; the mean weights all factors equally.

    Args:
        codes: [n, D].
        factors: [n, F].
        held_out_codes: [m, D].
        held_out_factors: [m, F].
        seed: seed of the trees.

    Raises:
        InvalidInputError: shapes do not match, there are fewer than two factors or entries, a number is not
            finite, or a factor is constant.
        MissingExtraError: scikit-learn is not installed.
    """
    x, y, x_test, y_test = _parts(codes, factors, held_out_codes, held_out_factors)
    ensemble = require("sklearn.ensemble", "metrics", "DCI")
    columns, scores = [], []
    for factor, target in zip(y.T, y_test.T, strict=True):
        trees = ensemble.GradientBoostingRegressor(random_state=seed).fit(x, factor)
        columns.append(trees.feature_importances_)
        scores.append(r_squared(trees.predict(x_test), target))
    importance = np.stack(columns, 1)
    total = importance.sum()
    rows = importance.sum(1) / total if total > 0 else np.zeros(len(importance))
    return DCI(
        disentanglement=float(rows @ _concentration(importance)),
        completeness=float(_concentration(importance.T).mean()),
        informativeness=float(np.mean(scores)),
        importance=importance,
    )


def infomec(
    codes: ArrayLike,
    factors: ArrayLike,
    held_out_codes: ArrayLike,
    held_out_factors: ArrayLike,
    *,
    seed: int = 0,
) -> InfoMEC:
    """InfoMEC of continuous codes and factors with few values.

    Mutual information is estimated by nearest neighbours (Ross 2014) over all data; explicitness by a
    logistic regression that is fitted to the first part and scored on the held-out part, relative to the base
    rate.

    Args:
        codes: [n, D].
        factors: [n, F], each with few different values.
        held_out_codes: [m, D].
        held_out_factors: [m, F], with the same values.
        seed: seed of the estimator's tie-breaking noise.

    Raises:
        InvalidInputError: as :func:`dci`, or a held-out value does not occur in the first part.
        MissingExtraError: scikit-learn is not installed.
    """
    x, y, x_test, y_test = _parts(codes, factors, held_out_codes, held_out_factors)
    labels = [
        _labels(column, test, number) for number, (column, test) in enumerate(zip(y.T, y_test.T, strict=True))
    ]
    selection = require("sklearn.feature_selection", "metrics", "InfoMEC")
    all_codes = np.concatenate([x, x_test])
    spread = np.ptp(all_codes, axis=0)
    active = spread > ACTIVE_SHARE * spread.max()
    information = np.zeros((y.shape[1], x.shape[1]))
    for row, (label, test) in enumerate(labels):
        joined = np.concatenate([label, test])
        if active.any():
            estimates = selection.mutual_info_classif(
                all_codes[:, active],
                joined,
                discrete_features=False,
                n_neighbors=NEIGHBOURS,
                random_state=seed,
            )
            information[row, active] = estimates / _entropy(joined)
    kept = information[:, active]
    return InfoMEC(
        modularity=_peakedness(kept.T),
        explicitness=float(np.mean([_explained(x, label, x_test, test) for label, test in labels])),
        compactness=_peakedness(kept) if active.sum() > 1 else None,
        information=information,
        active=active,
    )


def r_squared(predicted: ArrayLike, true: ArrayLike) -> float:
    """1 - squared error / squared deviation from the mean, of predictions [n]; 0: no better than the mean."""
    truth = np.asarray(true, np.float64)
    error = np.square(truth - np.asarray(predicted, np.float64)).sum()
    return float(1.0 - error / np.square(truth - truth.mean()).sum())


def _concentration(importance: Floats) -> Floats:
    """1 - normalised entropy of each row: [n, m] -> [n]; 0 for a row of zeros."""
    sums = importance.sum(1, keepdims=True)
    share = np.divide(importance, sums, out=np.zeros_like(importance), where=sums > 0)
    logs = np.log(share, out=np.zeros_like(share), where=share > 0)
    entropy = -(share * logs).sum(1) / np.log(importance.shape[1])
    return np.where(sums[:, 0] > 0, 1.0 - entropy, 0.0)


def _peakedness(information: Floats) -> float:
    """(mean over rows of max / sum - 1/m) / (1 - 1/m) for [n, m]: 0 for flat rows, 1 for peaks.

    A row of zeros counts as flat; without rows the result is 0.
    """
    width = information.shape[1]
    if not len(information):
        return 0.0
    sums = information.sum(1)
    share = np.divide(information.max(1), sums, out=np.full(len(sums), 1.0 / width), where=sums > 0)
    return float((share.mean() - 1.0 / width) / (1.0 - 1.0 / width))


def _explained(x: Floats, label: NDArray[np.int64], x_test: Floats, test: NDArray[np.int64]) -> float:
    """Predictive V-information over entropy, for linear classifiers (Xu et al. 2020)."""
    linear: Any = require("sklearn.linear_model", "metrics", "InfoMEC")
    mean, std = x.mean(0), x.std(0)
    scale = np.where(std > 0, std, 1.0)
    model = linear.LogisticRegression(C=PENALTY, max_iter=3000).fit((x - mean) / scale, label)
    chosen = model.predict_log_proba((x_test - mean) / scale)[np.arange(len(test)), test]
    rates = np.log(np.bincount(label) / len(label))
    null = -rates[test].mean()
    return float((null + chosen.mean()) / null)


def _labels(values: Floats, held_out: Floats, number: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Values as classes 0, 1, ..."""
    known, label = np.unique(values, return_inverse=True)
    test = np.searchsorted(known, held_out).clip(max=len(known) - 1)
    unknown = held_out[known[test] != held_out]
    if len(unknown):
        raise InvalidInputError(
            f"factor {number} has the held-out value {unknown[0]:g}, which the other part never has"
        )
    return label.astype(np.int64), test.astype(np.int64)


def _entropy(label: NDArray[np.int64]) -> float:
    share = np.bincount(label) / len(label)
    share = share[share > 0]
    return float(-(share * np.log(share)).sum())


def _parts(
    codes: ArrayLike, factors: ArrayLike, held_out_codes: ArrayLike, held_out_factors: ArrayLike
) -> tuple[Floats, Floats, Floats, Floats]:
    """Both parts of the data, checked; see :func:`dci` for what is refused."""
    x, y = _checked(codes, factors)
    x_test, y_test = _checked(held_out_codes, held_out_factors)
    if (x.shape[1], y.shape[1]) != (x_test.shape[1], y_test.shape[1]):
        raise InvalidInputError(
            f"codes {x.shape} and factors {y.shape} do not fit the held-out {x_test.shape} and {y_test.shape}"
        )
    return x, y, x_test, y_test


def _checked(codes: ArrayLike, factors: ArrayLike) -> tuple[Floats, Floats]:
    x, y = np.asarray(codes, np.float64), np.asarray(factors, np.float64)
    if x.ndim != 2 or y.ndim != 2 or len(x) != len(y):
        raise InvalidInputError(f"codes {x.shape} and factors {y.shape} do not fit: expected n x D and n x F")
    if x.shape[1] < 2 or y.shape[1] < 2:
        raise InvalidInputError(
            f"{x.shape[1]} code entries and {y.shape[1]} factors: disentanglement needs two of each"
        )
    if not len(x):
        raise InvalidInputError("there are no codes: disentanglement needs contexts of several tasks")
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise InvalidInputError("a code or a factor is NaN or infinite: leave it out")
    constant = np.flatnonzero(np.ptp(y, axis=0) == 0)
    if len(constant):
        raise InvalidInputError(f"factor {constant[0]} is the same everywhere: leave it out")
    return x, y
