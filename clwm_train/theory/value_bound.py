r"""The value-gap bound of SPC (Nakhaei et al. 2026, Theorem 3.1), computed exactly on finite task families.

An encoder phi maps states s to codes c, and a latent policy pi(a | c, z) acts on codes. V is its value in
the true task (P, r), V_latent its value in the learned model at the inferred representation. Two further
models on codes lie between the two::

    true task              (P, r)    on states; P_phi(c' | s, a): sum of P(s' | s, a) over phi(s') = c'
    abstract task          (P1, r1)  on codes: the mean of P_phi and r over the states of a code
    model, right task      (P2, r2)  the learned model at the task's own z
    model, inferred task   (P3, r3)  the learned model at the inferred z

All use the same policy. For two adjacent models (P, r), (Q, q) with values V, W, e_r the largest difference
of rewards and e_P the largest total variation between P_phi and Q over all (s, a)::

    V(s) - W(phi s) = sum_a pi(a | phi s) [ r(s, a) - q(phi s, a)
                                            + gamma sum_s' P(s' | s, a) (V(s') - W(phi s'))
                                            + gamma sum_c' (P_phi(c' | s, a) - Q(c' | phi s, a)) W(c') ]
    max |V - W|    <= e_r + gamma max |V - W| + gamma e_P span(W)
    max |V - W|    <= (e_r + gamma e_P R / (1 - gamma)) / (1 - gamma),     R = max q - min q

because a difference of two distributions integrates W to at most total variation times span(W), and
span(W) <= R / (1 - gamma): the simulation lemma (Kearns & Singh 2002). The three terms of the bound are this
right-hand side for the three steps: abstraction error, model error, task-inference error. By the triangle
inequality their sum bounds max_s |V(s) - V_latent(phi s)|.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clwm_data.errors import InvalidInputError

Floats = NDArray[np.float64]
#: Tolerated rounding error of probabilities.
TOLERANCE = 1e-8


@dataclass(frozen=True)
class TabularMdp:
    """A finite MDP, or a finite latent model.

    Attributes:
        transition: [X, A, X] probabilities of the next state (or code).
        reward: [X, A].
    """

    transition: Floats
    reward: Floats

    def __post_init__(self) -> None:
        states, actions = self.reward.shape
        if self.transition.shape != (states, actions, states):
            raise InvalidInputError(
                f"transitions {self.transition.shape} do not fit rewards {self.reward.shape}"
            )
        _check_probabilities(self.transition, "transitions")


@dataclass(frozen=True)
class ValueBound:
    """The true gap and the three terms that bound it.

    Attributes:
        gap: max over states of |V - V_latent|.
        abstraction: bound on what the encoder loses.
        model: bound on what the learned model gets wrong at the right z.
        task_inference: bound on what the inferred z changes.
    """

    gap: float
    abstraction: float
    model: float
    task_inference: float

    @property
    def bound(self) -> float:
        """Sum of the three terms, never below the gap."""
        return self.abstraction + self.model + self.task_inference


def value_bound(
    task: TabularMdp,
    encoder: NDArray[np.int64],
    model: TabularMdp,
    inferred: TabularMdp,
    policy: Floats,
    discount: float,
) -> ValueBound:
    """Gap and bound for one task and one latent policy.

    Args:
        task: the true task, X states.
        encoder: [X] code of every state, in 0 ... C - 1; every code has a state.
        model: the learned model at the task's own z, C codes.
        inferred: the learned model at the inferred z.
        policy: [C, A] probabilities of actions.
        discount: gamma in [0, 1).

    Raises:
        InvalidInputError: shapes do not fit, probabilities do not add up, or the discount is outside [0, 1).
    """
    codes, actions = policy.shape
    if not 0.0 <= discount < 1.0:
        raise InvalidInputError(f"discount {discount} is outside [0, 1)")
    if model.reward.shape != policy.shape or inferred.reward.shape != policy.shape:
        raise InvalidInputError(
            f"models {model.reward.shape}, {inferred.reward.shape} do not fit a policy {policy.shape}"
        )
    if task.reward.shape != (len(encoder), actions) or set(encoder.tolist()) != set(range(codes)):
        raise InvalidInputError(
            f"an encoder of {len(encoder)} states does not fit a task {task.reward.shape}, {codes} codes"
        )
    _check_probabilities(policy, "policy")
    identity = np.arange(codes)
    abstract = abstract_task(task, encoder)
    gap = np.abs(values(task, policy[encoder], discount) - values(inferred, policy, discount)[encoder])
    return ValueBound(
        gap=float(gap.max()),
        abstraction=_step(task, abstract, encoder, discount),
        model=_step(abstract, model, identity, discount),
        task_inference=_step(model, inferred, identity, discount),
    )


def values(mdp: TabularMdp, policy: Floats, discount: float) -> Floats:
    """V [X] of a policy [X, A]: the solution of V = r_pi + gamma P_pi V."""
    transition = np.einsum("xa,xay->xy", policy, mdp.transition)
    reward = (policy * mdp.reward).sum(1)
    solution: Floats = np.linalg.solve(np.eye(len(reward)) - discount * transition, reward)
    return solution


def abstract_task(task: TabularMdp, encoder: NDArray[np.int64]) -> TabularMdp:
    """The task on codes [C]: the mean over the states of every code."""
    member = np.eye(encoder.max() + 1)[encoder]  # [X, C]
    weight = member / member.sum(0)
    pushed = task.transition @ member
    return TabularMdp(np.einsum("xc,xad->cad", weight, pushed), weight.T @ task.reward)


def _step(one: TabularMdp, other: TabularMdp, encoder: NDArray[np.int64], discount: float) -> float:
    """Bound on max |V - W| of adjacent models; ``encoder`` maps the states of the first to the second's."""
    member = np.eye(len(other.reward))[encoder]
    reward = np.abs(one.reward - other.reward[encoder]).max()
    variation = 0.5 * np.abs(one.transition @ member - other.transition[encoder]).sum(-1).max()
    span = np.ptp(other.reward) / (1.0 - discount)
    return float((reward + discount * variation * span) / (1.0 - discount))


def _check_probabilities(array: Floats, what: str) -> None:
    if (array < -TOLERANCE).any() or np.abs(array.sum(-1) - 1.0).max() > TOLERANCE:
        raise InvalidInputError(
            f"{what}: a row is not a probability distribution: it must be >= 0 and add up to 1"
        )
