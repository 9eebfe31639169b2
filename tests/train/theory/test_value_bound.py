from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from clwm_data.errors import ClwmError
from clwm_train.theory.tabular_family import (
    Corridor,
    diagnose,
    infer_task,
    learn_model,
    sample_transitions,
)
from clwm_train.theory.value_bound import TabularMdp, abstract_task, value_bound, values

Floats = NDArray[np.float64]


def random_mdp(rng: np.random.Generator, states: int, actions: int) -> TabularMdp:
    concentration = rng.choice([0.05, 1.0])  # nearly deterministic, or not
    return TabularMdp(
        rng.dirichlet(np.full(states, concentration), (states, actions)), rng.normal(size=(states, actions))
    )


def near(mdp: TabularMdp, rng: np.random.Generator, error: float) -> TabularMdp:
    """A model that is wrong by a share of about ``error``."""
    other = random_mdp(rng, *mdp.reward.shape)
    return TabularMdp(
        (1 - error) * mdp.transition + error * other.transition, mdp.reward + error * other.reward
    )


@settings(deadline=None, max_examples=300)
@given(
    st.integers(0, 10**6),
    st.integers(2, 7),
    st.integers(1, 3),
    st.sampled_from([0.0, 0.5, 0.9, 0.99]),
    st.sampled_from([0.0, 0.01, 0.3, 1.0]),
    st.sampled_from([0.0, 0.01, 0.3, 1.0]),
)
def test_the_bound_holds(
    seed: int, states: int, actions: int, discount: float, model_error: float, inference_error: float
) -> None:
    rng = np.random.default_rng(seed)
    codes = int(rng.integers(1, states + 1))
    encoder = rng.permutation(np.concatenate([np.arange(codes), rng.integers(codes, size=states - codes)]))
    task = random_mdp(rng, states, actions)
    abstract = abstract_task(task, encoder)
    model = near(abstract, rng, model_error)
    inferred = near(model, rng, inference_error)
    policy = rng.dirichlet(np.full(actions, 0.3), codes)
    found = value_bound(task, encoder, model, inferred, policy, discount)
    assert found.gap <= found.bound + 1e-9
    # Every term bounds its own step.
    steps = (
        values(task, policy[encoder], discount),
        values(abstract, policy, discount)[encoder],
        values(model, policy, discount)[encoder],
        values(inferred, policy, discount)[encoder],
    )
    terms = (found.abstraction, found.model, found.task_inference)
    for before, after, term in zip(steps, steps[1:], terms, strict=False):
        assert np.abs(before - after).max() <= term + 1e-9
    assert found.gap == pytest.approx(np.abs(steps[0] - steps[3]).max())
    assert (found.model < 1e-9) == (model_error == 0.0)
    assert (found.task_inference < 1e-9) == (inference_error == 0.0)


def test_nothing_is_lost_without_errors() -> None:
    """States that are copies of each other, the exact model and the right task: gap and bound are 0."""
    rng = np.random.default_rng(0)
    small = random_mdp(rng, 3, 2)
    encoder = np.array([0, 1, 2, 0, 1, 2])
    double = TabularMdp(
        np.concatenate([small.transition, small.transition], 2)[encoder] / 2, small.reward[encoder]
    )
    policy = rng.dirichlet([1.0, 1.0], 3)
    found = value_bound(double, encoder, small, small, policy, 0.9)
    assert found.gap == pytest.approx(0.0, abs=1e-9)
    assert found.bound == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("discount", [0.0, 0.5, 0.95])
def test_the_bound_is_tight_for_a_constant_error_of_the_reward(discount: float) -> None:
    """A reward that is wrong by e everywhere shifts every value by e / (1 - gamma), no less."""
    rng = np.random.default_rng(1)
    task = random_mdp(rng, 4, 2)
    wrong = TabularMdp(task.transition, task.reward + 0.3)
    found = value_bound(task, np.arange(4), wrong, wrong, np.full((4, 2), 0.5), discount)
    assert found.gap == pytest.approx(0.3 / (1 - discount))
    assert found.bound == pytest.approx(found.gap)


def test_values_against_iteration() -> None:
    rng = np.random.default_rng(2)
    mdp, policy = random_mdp(rng, 5, 3), rng.dirichlet(np.ones(3), 5)
    value = np.zeros(5)
    for _ in range(400):
        value = (policy * (mdp.reward + 0.9 * mdp.transition @ value)).sum(1)
    np.testing.assert_allclose(values(mdp, policy, 0.9), value, atol=1e-9)


def test_abstract_task_by_hand() -> None:
    # Cells 0 and 1 share a code: from there the next is cell 2 with probability 0 and 1.
    transition = np.array([[[1, 0, 0]], [[0, 0, 1]], [[0, 1, 0]]], float)
    abstract = abstract_task(TabularMdp(transition, np.array([[1.0], [3.0], [5.0]])), np.array([0, 0, 1]))
    np.testing.assert_allclose(abstract.transition[:, 0], [[0.5, 0.5], [1.0, 0.0]])
    np.testing.assert_allclose(abstract.reward, [[2.0], [5.0]])


def test_learned_models_approach_the_abstract_task() -> None:
    task, encoder = Corridor().task(1), np.arange(12) // 2
    rng = np.random.default_rng(0)
    exact = abstract_task(task, encoder)
    learned = learn_model(sample_transitions(task, 200_000, rng), encoder, 2)
    np.testing.assert_allclose(learned.transition, exact.transition, atol=0.02)
    np.testing.assert_allclose(learned.reward, exact.reward, atol=0.02)


def test_tasks_are_inferred_from_enough_context() -> None:
    family, encoder, rng = Corridor(), np.arange(12), np.random.default_rng(0)
    models = [learn_model(sample_transitions(family.task(i), 5000, rng), encoder, 2) for i in range(4)]
    for index in range(4):
        assert infer_task(sample_transitions(family.task(index), 200, rng), encoder, models) == index


def test_each_remedy_lowers_its_own_term() -> None:
    family = Corridor()
    poor = diagnose(family, merge=3, transitions=100, context=0)
    assert all(found.gap <= found.bound for found in poor)
    finer = diagnose(family, merge=1, transitions=100, context=0)
    assert all(found.abstraction == pytest.approx(0.0, abs=1e-9) for found in finer)
    assert min(found.abstraction for found in poor) > 0.1
    more = diagnose(family, merge=3, transitions=20_000, context=0)
    assert all(new.model < old.model for new, old in zip(more, poor, strict=True))
    told = diagnose(family, merge=3, transitions=20_000, context=200)
    assert [found.task_inference for found in told] == [0.0] * 4
    assert sum(found.task_inference > 0 for found in more) == 3  # task 0 is what is assumed


def test_mistakes() -> None:
    mdp = random_mdp(np.random.default_rng(0), 3, 2)
    half = np.full((3, 2), 0.5)
    encoder = np.arange(3)
    with pytest.raises(ClwmError, match="not a probability distribution"):
        TabularMdp(mdp.transition * 2, mdp.reward)
    with pytest.raises(ClwmError, match="do not fit rewards"):
        TabularMdp(mdp.transition[:2], mdp.reward)
    with pytest.raises(ClwmError, match="discount 1"):
        value_bound(mdp, encoder, mdp, mdp, half, 1.0)
    with pytest.raises(ClwmError, match="policy: a row"):
        value_bound(mdp, encoder, mdp, mdp, half * 2, 0.9)
    with pytest.raises(ClwmError, match="do not fit a policy"):
        value_bound(mdp, encoder, mdp, mdp, half[:2], 0.9)
    with pytest.raises(ClwmError, match="does not fit a task"):
        value_bound(mdp, np.array([0, 0, 1]), mdp, mdp, half, 0.9)
