"""A small family that illustrates the value-gap bound: goals in a corridor, models from transition counts.

The corridor has X cells; actions step left and right, and slip with the task's probability. The reward is 1
in the task's goal cell and decreases linearly with the distance. A code merges ``merge`` adjacent cells. The
learned model of a task consists of transition frequencies between codes; the task representation is the
task's index, inferred from a context as the task whose learned model makes the context most likely.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clwm_train.theory.value_bound import TabularMdp, ValueBound, value_bound

Floats = NDArray[np.float64]
#: Pseudo-count of every next code, so that no transition has probability 0.
PRIOR = 0.1
#: Standard deviation of rewards in the likelihood of a context.
REWARD_NOISE = 0.1


@dataclass(frozen=True)
class Corridor:
    """A family of corridors.

    Attributes:
        cells: number of cells X.
        goals: goal cell of each task.
        slips: probability, in each task, of stepping the wrong way.
    """

    cells: int = 12
    goals: tuple[int, ...] = (0, 4, 8, 11)
    slips: tuple[float, ...] = (0.05, 0.2, 0.05, 0.2)

    def task(self, index: int) -> TabularMdp:
        """One task."""
        cell = np.arange(self.cells)
        steps = np.eye(self.cells)[
            np.stack([np.maximum(cell - 1, 0), np.minimum(cell + 1, self.cells - 1)], 1)
        ]
        slip = self.slips[index]
        reward = 1.0 - np.abs(cell - self.goals[index]) / self.cells
        return TabularMdp((1.0 - slip) * steps + slip * steps[:, ::-1], np.stack([reward, reward], 1))


Transitions = tuple[NDArray[np.int64], NDArray[np.int64], Floats, NDArray[np.int64]]


def sample_transitions(task: TabularMdp, count: int, rng: np.random.Generator) -> Transitions:
    """Independent transitions (s, a, r, s'), states and actions uniform: four arrays [count]."""
    states, actions = task.reward.shape
    s, a = rng.integers(states, size=count), rng.integers(actions, size=count)
    ends = task.transition[s, a].cumsum(-1)
    following = (rng.random((count, 1)) > ends).sum(-1).clip(max=states - 1)
    return s, a, task.reward[s, a], following


def learn_model(transitions: Transitions, encoder: NDArray[np.int64], actions: int) -> TabularMdp:
    """Frequencies of codes and mean rewards; a pair (c, a) without transitions has reward 0.

    Args:
        transitions: (s, a, r, s'), arrays [count].
        encoder: [X] code of each cell.
        actions: number of actions.
    """
    s, a, reward, following = transitions
    codes = int(encoder.max()) + 1
    counts = np.full((codes, actions, codes), PRIOR)
    np.add.at(counts, (encoder[s], a, encoder[following]), 1.0)
    seen, total = np.zeros((codes, actions)), np.zeros((codes, actions))
    np.add.at(seen, (encoder[s], a), 1.0)
    np.add.at(total, (encoder[s], a), reward)
    return TabularMdp(counts / counts.sum(-1, keepdims=True), total / np.maximum(seen, 1.0))


def infer_task(context: Transitions, encoder: NDArray[np.int64], models: list[TabularMdp]) -> int:
    """Index of the model under which a context is most likely.

    Args:
        context: (s, a, r, s'), arrays [count].
        encoder: [X] code of each cell.
        models: one per task, over codes.
    """
    s, a, reward, following = context
    c, d = encoder[s], encoder[following]
    scores = [
        np.log(model.transition[c, a, d]).sum()
        - 0.5 * np.square((reward - model.reward[c, a]) / REWARD_NOISE).sum()
        for model in models
    ]
    return int(np.argmax(scores))


def diagnose(
    family: Corridor, *, merge: int, transitions: int, context: int, discount: float = 0.9, seed: int = 0
) -> list[ValueBound]:
    """Gap and bound of every task, for the policy that is greedy in the inferred model.

    Args:
        family: the family.
        merge: cells that share a code; 1: the encoder loses nothing.
        transitions: number of transitions that each task's model is learned from.
        context: number of transitions that the task is inferred from; 0: task 0 is assumed.
        discount: gamma.
        seed: seed of data and contexts.
    """
    rng = np.random.default_rng(seed)
    encoder = np.arange(family.cells) // merge
    tasks = [family.task(index) for index in range(len(family.goals))]
    actions = tasks[0].reward.shape[1]
    models = [learn_model(sample_transitions(task, transitions, rng), encoder, actions) for task in tasks]
    bounds = []
    for task, model in zip(tasks, models, strict=True):
        inferred = models[infer_task(sample_transitions(task, context, rng), encoder, models)]
        policy = np.eye(actions)[_greedy(inferred, discount)]
        bounds.append(value_bound(task, encoder, model, inferred, policy, discount))
    return bounds


def _greedy(model: TabularMdp, discount: float) -> NDArray[np.int64]:
    """Best action [C] of every code, by value iteration."""
    q = np.zeros_like(model.reward)
    for _ in range(int(np.ceil(np.log(1e-10) / np.log(discount)))):
        q = model.reward + discount * model.transition @ q.max(-1)
    best: NDArray[np.int64] = q.argmax(-1)
    return best
