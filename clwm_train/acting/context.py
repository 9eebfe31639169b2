"""Task representations from stored data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from clwm_data.errors import InvalidInputError
from clwm_data.store.arrays import TaskArrays
from clwm_train.acting.belief import Prior, zero_prior
from clwm_train.data.task_data import DataTask
from clwm_train.kernels.streams import Purpose, derive
from clwm_train.model.agent import Agent
from clwm_train.settings import CONTEXT_SIZE, PriorName


@dataclass(frozen=True)
class Context:
    """K transitions of a task, in the environment's scale.

    Attributes:
        observation: [K, obs] float32.
        action: [K, act] float32.
        reward: [K] float32.
        following: [K, obs] float32, the next observations.
    """

    observation: NDArray[np.float32]
    action: NDArray[np.float32]
    reward: NDArray[np.float32]
    following: NDArray[np.float32]


class RememberingTask:
    """A task that keeps the contexts drawn from it: its data are read, and verified, only once for each.

    For what infers tasks again and again, such as evaluations while training.

    Args:
        task: the task and its data, which must stay as they are.
    """

    def __init__(self, task: DataTask) -> None:
        self._task = task
        self._drawn: dict[tuple[int, int, str | None], Context] = {}

    @property
    def index(self) -> int:
        """See :class:`~clwm_train.data.task_data.DataTask`."""
        return self._task.index

    @property
    def split(self) -> str:
        """See :class:`~clwm_train.data.task_data.DataTask`."""
        return self._task.split

    @property
    def behaviours(self) -> Sequence[str]:
        """See :class:`~clwm_train.data.task_data.DataTask`."""
        return self._task.behaviours

    def load(self) -> TaskArrays:
        """See :class:`~clwm_train.data.task_data.DataTask`."""
        return self._task.load()

    def context(self, size: int, seed: int, behaviour: str | None) -> Context:
        """The result of :func:`draw_context`."""
        key = size, seed, behaviour
        if key not in self._drawn:
            self._drawn[key] = draw_context(self._task, size, seed, behaviour)
        return self._drawn[key]


def draw_context(task: DataTask, size: int, seed: int, behaviour: str | None = None) -> Context:
    """Transitions of a task's dataset, drawn without replacement; a smaller dataset is used completely.

    Args:
        task: the task and its data.
        size: number of transitions.
        seed: the same seed draws the same transitions.
        behaviour: draw only from episodes of the behaviour with this name.

    Raises:
        InvalidInputError: the task has no episode of this behaviour.
    """
    if isinstance(task, RememberingTask):
        return task.context(size, seed, behaviour)
    arrays = task.load()
    generator = np.random.default_rng(derive(seed, Purpose.EVALUATION, task.index))
    candidates = _transitions_of(task, arrays, behaviour)
    count = min(size, len(candidates))
    rows = candidates[np.sort(generator.choice(len(candidates), count, replace=False))]
    observation_rows = arrays.observation_row()[rows]
    return Context(
        arrays.observation[observation_rows],
        arrays.action[rows],
        arrays.reward[rows],
        arrays.observation[observation_rows + 1],
    )


def infer_from_data(
    agent: Agent,
    task: DataTask,
    size: int,
    seed: int,
    prior: Prior | None = None,
    *,
    behaviour: str | None = None,
) -> Tensor:
    """z [S, z] from transitions of a task's dataset, or the one that the agent is given.

    The transitions are drawn by :func:`draw_context`.

    Args:
        agent: the agent.
        task: the task and its data.
        size: number of transitions.
        seed: the same seed draws the same transitions.
        prior: z = 0 with weight 0 by default.
        behaviour: draw only from episodes of the behaviour with this name.

    Raises:
        InvalidInputError: the task has no episode of this behaviour.
    """
    return infer_tasks(agent, [task], size, seed, prior, behaviour=behaviour)[:, 0]


def infer_tasks(
    agent: Agent,
    tasks: Sequence[DataTask],
    size: int,
    seed: int,
    prior: Prior | None = None,
    *,
    behaviour: str | None = None,
) -> Tensor:
    """z [S, T, z] of T tasks, each as by :func:`infer_from_data`.

    Raises:
        InvalidInputError: a task has no episode of this behaviour.
    """
    known = agent.known_z([task.index for task in tasks])
    if known is not None:
        return known
    prior = zero_prior(agent) if prior is None else prior
    # One after the other: each finds its code and the network in the cache.
    contexts = [draw_context(task, size, seed, behaviour) for task in tasks]
    return torch.stack([_infer(agent, context, prior) for context in contexts], 1)


def _infer(agent: Agent, context: Context, prior: Prior) -> Tensor:
    """z [S, z] from the transitions of a task."""
    parts = (context.observation, context.action, context.reward, context.following)
    device = agent.normaliser.mean.device
    with torch.inference_mode():
        transitions = agent.transition(*(torch.from_numpy(part).to(device) for part in parts))
        total = agent.context_encoder.embed(transitions.expand(len(agent.seeds), -1, -1)).sum(1)
    return prior.posterior(total.clone(), len(context.reward))


def _transitions_of(task: DataTask, arrays: TaskArrays, behaviour: str | None) -> NDArray[np.int64]:
    """Rows of the task's transitions, of one behaviour if it is given."""
    all_rows = np.arange(arrays.transitions)
    if behaviour is None:
        return all_rows
    numbers = [number for number, name in enumerate(task.behaviours) if name == behaviour]
    collected_by = np.repeat(arrays.episode_behaviour, arrays.episode_length)
    rows = all_rows[np.isin(collected_by, numbers)]
    if not len(rows):
        raise InvalidInputError(
            f"task {task.index}: holds no episode of the behaviour {behaviour}; it has "
            f"{', '.join(dict.fromkeys(task.behaviours))}"
        )
    return rows


def make_prior(
    agent: Agent, tasks: Mapping[int, DataTask], name: PriorName, weight: float, seed: int
) -> Prior:
    """The prior that settings name.

    Args:
        agent: the agent.
        tasks: tasks and their data.
        name: ``zero``: z = 0, as published; ``mean``: the mean z of the train tasks.
        weight: see :class:`Prior`.
        seed: seed of the contexts of the train tasks.

    Raises:
        InvalidInputError: the prior is the mean, but no train task has data.
    """
    zero = zero_prior(agent)
    if name == "zero":
        return Prior(zero.z, weight)
    train = [task for task in tasks.values() if task.split == "train"]
    if not train:
        raise InvalidInputError(
            "--prior mean: no train task has data to take the mean z of: use --prior zero"
        )
    return Prior(infer_tasks(agent, train, CONTEXT_SIZE, seed).mean(1), weight)
