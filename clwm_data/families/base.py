"""What a task family is: tasks with parameters and splits, and the environments that simulate them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clwm_data.errors import InvalidInputError, NotFoundError, UnavailableError
from clwm_data.extras import require
from clwm_data.families.conditioning import Conditioning, conditioning_of
from clwm_data.families.symmetry import Symmetry
from clwm_data.ranges import whole
from clwm_data.yaml_values import shown

if TYPE_CHECKING:
    from clwm_data.families.envs import TaskEnv
    from clwm_data.families.simulation.simulator import Simulator
    from clwm_data.families.vector_env import TaskVectorEnv

#: What can be the name of a family, which becomes a part of Gymnasium's ids.
NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}"

Split = Literal["train", "id", "ood"]
SPLITS: tuple[Split, ...] = ("train", "id", "ood")

Parameters = Mapping[str, float | tuple[float, ...]]

#: A hand-written behaviour: (observation [L, obs], privileged [L, p] or None) -> action [L, act].
ScriptedPolicy = Callable[[NDArray[np.float32], NDArray[np.float64] | None], NDArray[np.float64]]


@dataclass(frozen=True)
class Task:
    """One MDP of a family.

    Attributes:
        index: position in the family, from 0.
        split: ``train``, ``id`` or ``ood``: the last two are held out in the published split. Where their
            parameters lie relative to the train tasks' is computed, see :mod:`clwm_data.families.placement`.
        parameters: what distinguishes the task, in the simulator's units; numbers or tuples of numbers.
    """

    index: int
    split: Split
    parameters: Parameters

    def number(self, name: str) -> float:
        """A parameter that is a single number.

        Raises:
            KeyError: the task has no such parameter.
            TypeError: it is a tuple.
        """
        value = self.parameters[name]
        if isinstance(value, tuple):
            raise TypeError(f"parameter {name} of task {self.index} is a tuple: {value}")
        return value


class TaskFamily(ABC):
    """A set of MDPs that differ in reward or dynamics through a few parameters.

    A subclass sets the attributes, lists its tasks and builds a simulator; environments, vector
    environments, collection and evaluation follow from these.

    Attributes:
        name: its name on the command line.
        benchmark: where the base simulation comes from, e.g. ``gymnasium-mujoco``.
        summary: one line: what the agent does and what varies.
        observation_size: entries of an observation.
        action_size: entries of an action, each in [-1, 1].
        horizon: agent steps after which an episode is truncated.
        dynamics_vary: the transition function differs between tasks (else only the reward does).
        has_success: steps report whether the task is solved.
        has_dense_reward: steps report a dense reward beside the sparse one.
        policies_of: another family with the same tasks and observations, whose trained policies are used.
        behaviours: policies that can collect data, besides trained ones.
        lanes: episodes that one process collects side by side.
        units: parameter -> its unit, such as ``m/s``; parameters without a unit are left out.
        tracked: the parameter that is the target of a quantity the agent controls, such as a speed;
            :meth:`reached` measures that quantity. ``None`` if there is no such parameter.
        step_seconds: simulated time of an agent step; ``None`` if the simulation has no clock.
        discrete: there are ``action_size`` discrete actions, given one-hot; of any other vector the largest
            entry counts, see :meth:`executed`.
        deterministic: seed and actions determine an episode, bit for bit.
        has_states: the simulator's state can be set; else an episode's state is its seed and its actions.
    """

    name: str
    benchmark: str
    summary: str
    observation_size: int
    action_size: int
    horizon: int
    dynamics_vary: bool = False
    has_success: bool = False
    has_dense_reward: bool = False
    policies_of: str | None = None
    behaviours: tuple[str, ...] = ("random",)
    lanes: int = 32
    units: Mapping[str, str] = MappingProxyType({})
    tracked: str | None = None
    step_seconds: float | None = None
    discrete: bool = False
    deterministic: bool = True
    has_states: bool = True

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {getattr(self, 'name', 'without a name')}>"

    @abstractmethod
    def list_tasks(self) -> Iterable[Task]:
        """All tasks in order of their index."""

    @abstractmethod
    def make_simulator(
        self, tasks: Sequence[int], *, threads: int = 1, render_mode: str | None = None
    ) -> Simulator:
        """A simulator with one lane for each entry of ``tasks`` (repeats allowed).

        Args:
            tasks: task index of each lane.
            threads: upper bound on the threads it may step with.
            render_mode: ``None`` or ``"rgb_array"``; models may leave textures out when ``None``.
        """

    def reached(self, observations: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """The mean value, over an episode, of the quantity whose target is ``tracked``, in its unit.

        Args:
            observations: [..., T + 1, obs] of whole episodes.

        Returns:
            [...] means over the episode.

        Raises:
            NotImplementedError: ``tracked`` is ``None``.
        """
        raise NotImplementedError(f"family {self.name} tracks no parameter")

    def scripted_policy(self, task: int) -> ScriptedPolicy:
        """The hand-written policy of a task.

        Raises:
            NotFoundError: the family has none.
        """
        raise NotFoundError(
            f"family {self.name} has no scripted behaviour; it has: {', '.join(self.behaviours)}"
        )

    def executed(self, action: NDArray[np.float32]) -> NDArray[np.float32]:
        """The actions [..., act] that a step executes when given actions [..., act]; datasets store these.

        Discrete actions are one-hot; others are executed as they are.
        """
        if not self.discrete:
            return action
        one_hot: NDArray[np.float32] = np.eye(self.action_size, dtype=np.float32)[np.argmax(action, axis=-1)]
        return one_hot

    def conditioning_parameters(self, task: Task) -> Parameters:
        """Numbers that identify a task, and on which a good policy depends smoothly.

        By default the task's parameters; a family may override it (an angle would jump at a full turn).
        """
        return task.parameters

    def group(self, task: int) -> str | None:
        """The name of the benchmark that a task is from, in a family that joins several; else ``None``.

        Raises:
            NotFoundError: no such task.
        """
        return None

    @cached_property
    def conditioning(self) -> Conditioning:
        """The vector of each task that task-conditioned behaviour policies see after the observation."""
        return conditioning_of([self.conditioning_parameters(task) for task in self.tasks])

    @cached_property
    def symmetries(self) -> tuple[Symmetry, ...]:
        """How the robot can be turned or mirrored without changing dynamics, initial states and rewards.

        The identity is left out; by default there are none. The image of a policy under a symmetry is as good
        as the policy: see :mod:`clwm_data.zoo.image`.
        """
        return ()

    @cached_property
    def tasks(self) -> tuple[Task, ...]:
        """All tasks; ``tasks[i].index == i``.

        Raises:
            InvalidInputError: the family lists its tasks in another order.
        """
        tasks = tuple(self.list_tasks())
        if [task.index for task in tasks] != list(range(len(tasks))):
            raise InvalidInputError(f"family {self.name}: task indices must be 0, 1, 2, ...")
        return tasks

    def split(self, split: Split) -> tuple[int, ...]:
        """Indices of the tasks of one split, ascending; empty if the family has no tasks of it.

        Raises:
            InvalidInputError: it is not ``train``, ``id`` or ``ood``.
        """
        if split not in SPLITS:
            raise InvalidInputError(
                f"family {self.name}: a split is one of {', '.join(SPLITS)}, not {shown(split)}"
            )
        return tuple(task.index for task in self.tasks if task.split == split)

    def task(self, index: int) -> Task:
        """The task of an index.

        Raises:
            InvalidInputError: the index is not a whole number.
            NotFoundError: no such task.
        """
        number = whole(index)
        if number is None:
            raise InvalidInputError(
                f"family {self.name}: a task is a whole number from 0 to {len(self.tasks) - 1}, not {index!r}"
            )
        if not 0 <= number < len(self.tasks):
            raise NotFoundError(
                f"family {self.name} has no task {number}: its tasks are 0 to {len(self.tasks) - 1}"
            )
        return self.tasks[number]

    @property
    def has_references(self) -> bool:
        """Whether there are reference returns, see :mod:`clwm_data.references`."""
        from clwm_data.references import has_references

        return has_references(self.name)

    def reference_returns(self, task: int) -> tuple[float, float]:
        """Mean returns of random actions and of the expert on a task, see :mod:`clwm_data.references`.

        Raises:
            ClwmError: no such task, or they were not measured yet.
        """
        from clwm_data.references import reference_record

        record = reference_record(self.name)
        index = self.task(task).index
        if not len(record.random) == len(record.expert) == len(self.tasks):
            raise UnavailableError(
                f"the reference returns of {self.name} do not match its {len(self.tasks)} tasks: "
                f"measure them again (`clwm behaviour reference {self.name}`)"
            )
        return record.random[index], record.expert[index]

    def normalised_return(self, task: int, returns: ArrayLike) -> NDArray[np.float64]:
        """Returns of a task on the scale where random actions get 0 and the expert gets 1.

        Raises:
            ClwmError: as :meth:`reference_returns`.
        """
        from clwm_data.references import normalised_return

        return normalised_return(returns, *self.reference_returns(task))

    def make_env(self, task: int, *, render_mode: str | None = None, time_limit: bool = True) -> TaskEnv:
        """A Gymnasium environment of one task; actions in [-1, 1], truncated after ``horizon`` steps.

        Args:
            task: task index.
            render_mode: ``None`` or ``"rgb_array"``.
            time_limit: truncate after ``horizon`` steps; otherwise a wrapper has to.

        Raises:
            InvalidInputError: ``task`` is not a whole number.
            NotFoundError: no such task.
            MissingExtraError: the simulator is not installed.
        """
        index = self.task(task).index
        self.require_gymnasium()
        from clwm_data.families.envs import TaskEnv

        return TaskEnv(self, index, render_mode=render_mode, time_limit=time_limit)

    def make_vec_env(self, tasks: Sequence[int], *, threads: int = 1) -> TaskVectorEnv:
        """A Gymnasium vector environment with one lane per entry of ``tasks``.

        Raises:
            InvalidInputError: ``tasks`` is empty, or holds anything but whole numbers; ``threads`` is not a
                whole number from 1 on.
            NotFoundError: no such task.
            MissingExtraError: the simulator is not installed.
        """
        together = whole(threads)
        if together is None or together < 1:
            raise InvalidInputError(
                f"family {self.name}: threads: {threads!r} is not a whole number from 1 on"
            )
        if isinstance(tasks, str) or not isinstance(tasks, Iterable):
            raise InvalidInputError(
                f"family {self.name}: a vector environment takes a list of tasks, not {tasks!r}"
            )
        indices = [self.task(task).index for task in tasks]
        if not indices:
            raise InvalidInputError(f"family {self.name}: a vector environment needs at least one task")
        self.require_gymnasium()
        from clwm_data.families.vector_env import TaskVectorEnv

        return TaskVectorEnv(self, indices, threads=together)

    def __reduce_ex__(self, protocol: Any) -> Any:
        """A registered family pickles as its name and copies as itself; others behave like any object."""
        from clwm_data.families.registry import is_registered, restore

        return (restore, (type(self), self.name)) if is_registered(self) else super().__reduce_ex__(protocol)

    def require_gymnasium(self) -> None:
        """Check that the family's environments can be made, as far as that is known before.

        Raises:
            MissingExtraError: Gymnasium is not installed.
            NotFoundError: the family is known from its data alone.
        """
        require("gymnasium", "sim", f"simulating {self.name}")


def with_lists(parameters: Parameters) -> dict[str, float | list[float]]:
    """Parameters as JSON and YAML hold them: lists in place of tuples."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in parameters.items()}


def with_tuples(parameters: Mapping[str, float | list[float]]) -> dict[str, float | tuple[float, ...]]:
    """The inverse of :func:`with_lists`."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in parameters.items()}


def splits_of(train: Iterable[int], in_distribution: Iterable[int], ood: Iterable[int]) -> dict[int, Split]:
    """Map each task index to its split.

    Raises:
        ValueError: an index is in two splits.
    """
    named: tuple[tuple[Split, Iterable[int]], ...] = (
        ("train", train),
        ("id", in_distribution),
        ("ood", ood),
    )
    result: dict[int, Split] = {}
    for split, indices in named:
        for index in indices:
            if index in result:
                raise ValueError(f"task {index} is in two splits: {result[index]} and {split}")
            result[index] = split
    return result
