from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy import stats

from clwm_data.errors import ClwmError
from clwm_train.metrics.aggregate import (
    AGGREGATES,
    Grouped,
    aggregate,
    iqm,
    mean,
    median,
    optimality_gap,
    performance_profile,
    probability_of_improvement,
)

X = np.random.default_rng(0).normal(0.6, 0.3, (5, 7)).round(3)
Y = np.random.default_rng(1).normal(0.5, 0.3, (4, 7)).round(3)
THRESHOLDS = [0.0, 0.25, 0.5, 0.75, 1.0]

# What rliable 1.2.0 (arch 7.2.0, pandas 2.3.3, numpy 2.4.6) gives for X and Y:
#   rng = lambda: np.random.RandomState(0)
#   library.get_interval_estimates({"x": X}, lambda s: np.array([metrics.aggregate_median(s),
#       metrics.aggregate_iqm(s), metrics.aggregate_mean(s), metrics.aggregate_optimality_gap(s)]),
#       reps=50000, random_state=rng())
#   library.get_interval_estimates({"x,y": (X, Y)}, metrics.probability_of_improvement, reps=5000,
#       random_state=rng())
#   library.create_performance_profile({"x": X}, np.array(THRESHOLDS), reps=20000)
RLIABLE = {
    "median": (0.5908, 0.4808, 0.6472),
    "iqm": (0.5606842105263158, 0.48684210526315796, 0.6402118421052633),
    "mean": (0.5632285714285714, 0.4873428571428572, 0.6370585714285715),
    "optimality_gap": (0.4370571428571428, 0.36342857142857155, 0.5127721428571429),
}
RLIABLE_IMPROVEMENT = (0.5571428571428572, 0.42857143, 0.68571429)
RLIABLE_PROFILE = (
    [0.9714285714285714, 0.9142857142857143, 0.6285714285714286, 0.2, 0.02857142857142857],
    [0.9142857142857143, 0.8285714285714286, 0.4857142857142857, 0.08571428571428572, 0.0],
    [1.0, 1.0, 0.7714285714285715, 0.3142857142857143, 0.08571428571428572],
)

SCORES = arrays(
    np.float64, st.tuples(st.integers(1, 6), st.integers(1, 9)), elements=st.floats(-2, 2, width=32)
)


@pytest.mark.parametrize("name", RLIABLE)
def test_as_rliable(name: str) -> None:
    found = aggregate(X, AGGREGATES[name], replicates=20_000)
    point, low, high = RLIABLE[name]
    assert found.point == pytest.approx(point, abs=1e-12)
    # The ends differ by the noise of two bootstraps.
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.006)


def test_probability_of_improvement_as_rliable() -> None:
    found = probability_of_improvement(X, Y, replicates=5_000)
    point, low, high = RLIABLE_IMPROVEMENT
    assert found.point == pytest.approx(point, abs=1e-12)
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.015)


def test_profile_as_rliable() -> None:
    found = performance_profile(X, THRESHOLDS, replicates=5_000)
    share, low, high = RLIABLE_PROFILE
    np.testing.assert_allclose(found.share, share, atol=1e-12)
    # Shares move in steps of 1/35.
    np.testing.assert_allclose(np.stack([found.low, found.high]), [low, high], atol=1 / 35 + 1e-9)


def test_against_an_installed_rliable() -> None:
    library = pytest.importorskip("rliable.library")
    metrics = pytest.importorskip("rliable.metrics")
    state = np.random.RandomState(0)
    points, ends = library.get_interval_estimates(
        {"x": X}, lambda s: np.array([metrics.aggregate_iqm(s)]), reps=20_000, random_state=state
    )
    found = aggregate(X, iqm, replicates=20_000)
    assert found.point == pytest.approx(points["x"][0])
    assert (found.low, found.high) == pytest.approx(tuple(ends["x"][:, 0]), abs=0.006)


@given(SCORES)
def test_points_against_scipy(scores: NDArray[np.float64]) -> None:
    assert iqm(scores) == pytest.approx(stats.trim_mean(scores, 0.25, axis=None), abs=1e-9)
    assert median(scores) == pytest.approx(np.median([column.mean() for column in scores.T]), abs=1e-9)
    short = [max(0.0, 1.0 - score) for score in scores.ravel()]
    assert optimality_gap(scores) == pytest.approx(np.mean(short), abs=1e-9)
    assert mean(scores) == pytest.approx(np.mean(scores), abs=1e-9)


@settings(max_examples=40)
@given(SCORES, st.integers(1, 5), st.integers(0, 9))
def test_improvement_against_mann_whitney(scores: NDArray[np.float64], runs: int, seed: int) -> None:
    other = np.random.default_rng(seed).choice(scores.ravel(), (runs, scores.shape[1]))
    wins = [
        stats.mannwhitneyu(x, y).statistic / (len(x) * len(y)) for x, y in zip(scores.T, other.T, strict=True)
    ]
    found = probability_of_improvement(scores, other, replicates=20)
    assert found.point == pytest.approx(np.mean(wins))
    assert found.point + probability_of_improvement(other, scores, replicates=20).point == pytest.approx(1.0)


@settings(max_examples=40)
@given(SCORES, st.lists(st.floats(-2, 2), min_size=1, max_size=5))
def test_profile_counts_scores_above(scores: NDArray[np.float64], thresholds: list[float]) -> None:
    found = performance_profile(scores, thresholds, replicates=20)
    expected = [np.mean([score > threshold for score in scores.ravel()]) for threshold in thresholds]
    np.testing.assert_allclose(found.share, expected)


def test_every_replicate_of_two_seeds_by_hand() -> None:
    """Two seeds and one task: the mean is 0, 1/2 or 1 with probability 1/4, 1/2, 1/4."""
    found = aggregate([[0.0], [1.0]], mean, replicates=20_000)
    assert (found.low, found.high) == (0.0, 1.0)
    half = aggregate([[0.0], [1.0]], mean, replicates=20_000, confidence=0.4)
    assert (half.low, half.high) == (0.5, 0.5)


def test_tasks_are_strata() -> None:
    """Seeds that agree on every task leave nothing uncertain, however much the tasks differ."""
    found = aggregate(np.tile(np.linspace(-1, 1, 8), (4, 1)), iqm)
    assert found.low == pytest.approx(found.point)
    assert found.high == pytest.approx(found.point)


def test_seeds_are_drawn_task_by_task() -> None:
    """Were whole seeds drawn, the mean could only be a mean of row means: here always 0."""
    found = aggregate([[1.0, -1.0], [-1.0, 1.0]], mean)
    assert found.point == 0.0
    assert found.low is not None
    assert found.low < -0.5


def test_agents_of_several_tasks_are_drawn_whole() -> None:
    """Two agents, the one better on both tasks of a dataset: the mean is 0, 1/2 or 1, as for one task."""
    shared = [[0.0, 0.0], [1.0, 1.0]]
    found = aggregate(Grouped(shared, [0, 0]), mean, confidence=0.4)
    assert (found.low, found.high) == (0.5, 0.5)
    found = aggregate(Grouped(shared, [0, 0]), mean)
    assert (found.low, found.high) == (0.0, 1.0)
    cancel = [[1.0, -1.0], [-1.0, 1.0]]
    found = aggregate(Grouped(cancel, [0, 0]), mean)
    assert (found.low, found.high) == (0.0, 0.0)
    profile = performance_profile(Grouped(shared, [0, 0]), [0.5], confidence=0.4)
    np.testing.assert_allclose([profile.low, profile.high], 0.5)
    better = probability_of_improvement(Grouped([[1.0, 0.0], [0.0, 1.0]], [0, 0]), [[0.5, 0.5]] * 2)
    assert (better.low, better.high) == (0.5, 0.5)


def test_groups_of_one_task_are_no_groups() -> None:
    assert aggregate(Grouped(X, range(7))) == aggregate(X)
    assert probability_of_improvement(Grouped(X, range(7)), Grouped(Y, range(7))) == (
        probability_of_improvement(X, Y)
    )


def test_grouped_bootstrap_against_a_loop() -> None:
    """Five tasks of one dataset and two of another, whose agents are others."""
    groups = [0, 0, 0, 0, 0, 1, 1]
    found = aggregate(Grouped(X, groups), iqm, replicates=20_000)
    rng = np.random.default_rng(5)
    replicates = []
    for _ in range(20_000):
        first, second = rng.integers(5, size=5), rng.integers(5, size=5)
        replicates.append(stats.trim_mean(np.hstack([X[first, :5], X[second, 5:]]), 0.25, axis=None))
    assert (found.low, found.high) == pytest.approx(tuple(np.percentile(replicates, [2.5, 97.5])), abs=0.006)


@pytest.mark.parametrize(("grouped", "least"), [(True, 160), (False, 0)])
def test_intervals_cover_the_mean_of_agents_that_differ(grouped: bool, least: int) -> None:
    """Agents differ on all tasks of a dataset at once: drawn task by task, intervals are far too narrow."""
    rng = np.random.default_rng(0)
    hits = 0
    for number in range(200):
        scores = rng.normal(0.3, 0.2, (6, 1)) + rng.normal(0.0, 0.1, (6, 10))
        found = aggregate(Grouped(scores, [0] * 10) if grouped else scores, mean, replicates=300, seed=number)
        assert found.low is not None
        assert found.high is not None
        hits += found.low <= 0.3 <= found.high
    assert hits >= least
    assert grouped or hits <= 120


def test_chunks_change_nothing() -> None:
    improvement = probability_of_improvement(X, Y, replicates=99)
    assert probability_of_improvement(X, Y, replicates=99, chunk=X.size * 40) == improvement
    whole = aggregate(X, iqm, replicates=999, seed=3)
    assert aggregate(X, iqm, replicates=999, seed=3, chunk=X.size * 100) == whole
    assert aggregate(X, iqm, replicates=999, seed=4, chunk=X.size * 100) != whole


def test_intervals_cover() -> None:
    """Of 200 experiments with known mean, about 95 % of the intervals hold it (somewhat fewer: few seeds)."""
    rng = np.random.default_rng(0)
    hits = 0
    for number in range(200):
        found = aggregate(rng.normal(0.3, 1.0, (8, 10)), mean, replicates=300, seed=number)
        assert found.low is not None
        assert found.high is not None
        hits += found.low <= 0.3 <= found.high
    assert 170 <= hits <= 200


def test_one_seed_has_no_interval() -> None:
    assert aggregate([[0.2, 0.4]]).low is None
    assert probability_of_improvement([[0.2]], [[0.1]]).high is None
    assert performance_profile([[0.2]], [0.1]).low is None


def test_mistakes() -> None:
    for scores, message in (
        ([], "expected runs x tasks"),
        ([1.0], "expected runs x tasks"),
        ([[1.0, np.nan]], "score of run 0 on task 1 is nan"),
        ([[1.0, 2.0], [3.0]], "the same tasks for every run"),
        ([["good"]], "runs x tasks of numbers"),
        (Grouped([[1.0, 2.0]], [0, -1]), "numbered from 0, not -1"),
    ):
        with pytest.raises(ClwmError, match=message):
            aggregate(scores)
    with pytest.raises(ClwmError, match="groups of 1 tasks for scores of 2"):
        aggregate(Grouped([[1.0, 2.0]], [0]))
    with pytest.raises(ClwmError, match="of 2 and of 1 task cannot"):
        probability_of_improvement([[1.0, 2.0]], [[1.0]])


def test_more_is_better_in_every_aggregate() -> None:
    for (name, statistic), shift in itertools.product(AGGREGATES.items(), (0.05, 0.2)):
        higher, lower = float(statistic(X + shift)), float(statistic(X))
        assert (higher > lower) == (name != "optimality_gap")
