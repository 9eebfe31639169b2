"""A family that is known from its data alone: enough to learn from it, nothing to act in."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from pydantic import Field

from clwm_data.errors import NotFoundError
from clwm_data.families.base import Split, Task, TaskFamily, with_tuples
from clwm_data.families.builtin import BUILTIN
from clwm_data.families.conditioning import Conditioning, conditioning_of, flattened
from clwm_data.strict import Finite, StrictModel, Text

if TYPE_CHECKING:
    from clwm_data.families.simulation.simulator import Simulator

#: A scaled parameter that no task has: theirs lie in [-1, 1].
NO_TASK = 2.0
#: A task's index as a key.
TaskKey = Annotated[str, Field(pattern=r"^(0|[1-9][0-9]{0,8})$")]
#: Mean returns of random actions and of the expert.
ReferencePair = Annotated[list[Finite], Field(min_length=2, max_length=2)]


class FamilyFacts(StrictModel):
    """What arrays do not show of a family; manifests of families that clwm does not bring keep it.

    Attributes:
        varies: whether tasks differ in their ``dynamics`` or only in their ``reward``.
        horizon: steps after which an episode is truncated; ``None``: not known.
        references: task -> [mean return of random actions, of the expert]; ``None``: not known.
    """

    varies: Literal["dynamics", "reward"] = "dynamics"
    horizon: int | None = Field(default=None, ge=1, le=2**53)
    references: dict[TaskKey, ReferencePair] | None = None


def facts_of(family: TaskFamily) -> FamilyFacts | None:
    """The facts of a family whose package may be missing where its data are used; ``None`` for clwm's own."""
    if family.name in BUILTIN:
        return None
    varies: Literal["dynamics", "reward"] = "dynamics" if family.dynamics_vary else "reward"
    return FamilyFacts(varies=varies, horizon=family.horizon)


class TaskDescription(StrictModel):
    """A task, as runs keep it."""

    index: int = Field(ge=0)
    split: Split
    parameters: dict[Text, float | list[float]]


class FamilyDescription(StrictModel):
    """A family, as runs that learned from its data keep it.

    Attributes:
        facts: see :class:`FamilyFacts`.
        tasks: the tasks of the store.
        has_success: steps say whether the task is solved.
        discrete: actions are discrete.
    """

    facts: FamilyFacts
    tasks: list[TaskDescription]
    has_success: bool = False
    discrete: bool = False


class StoredFamily(TaskFamily):
    """The tasks of a store whose family is not installed here. Their indices may have gaps.

    Attributes:
        left_out: parameters that not all tasks of the store have as a number, or as so many in a vector.

    Args:
        name: name of the family.
        observation_size: entries of an observation.
        action_size: entries of an action, or number of discrete actions.
        description: what is known of it.
        longest: returns the number of steps of the longest episode, which is the horizon where that is not
            known.
    """

    benchmark = "data"
    summary = "known from its data alone"

    def __init__(
        self,
        name: str,
        observation_size: int,
        action_size: int,
        description: FamilyDescription,
        longest: Callable[[], int],
    ) -> None:
        self.name = name
        self.observation_size, self.action_size = observation_size, action_size
        self.description = description
        self.dynamics_vary = description.facts.varies == "dynamics"
        self.has_success = description.has_success
        self.discrete = description.discrete
        self._longest = longest
        tasks = [Task(task.index, task.split, with_tuples(task.parameters)) for task in description.tasks]
        shared = _shared_parameters(tasks)
        self.left_out = tuple(sorted({name for task in tasks for name in task.parameters} - {*shared}))
        self._tasks = {
            task.index: Task(task.index, task.split, {name: task.parameters[name] for name in shared})
            for task in tasks
        }

    @cached_property
    def horizon(self) -> int:  # type: ignore[override]
        """Steps after which an episode is truncated; if that is not known, those of the longest episode."""
        return self.description.facts.horizon or self._longest()

    def list_tasks(self) -> Iterable[Task]:
        """The tasks of the store."""
        return self._tasks.values()

    @cached_property
    def tasks(self) -> tuple[Task, ...]:
        """The tasks of the store, ascending."""
        return tuple(self._tasks[index] for index in sorted(self._tasks))

    def task(self, index: int) -> Task:
        """The task of an index.

        Raises:
            NotFoundError: the store does not hold it.
        """
        if index not in self._tasks:
            raise NotFoundError(f"family {self.name}: there is no task {index} in its data")
        return self._tasks[index]

    @cached_property
    def conditioning(self) -> Conditioning:
        """As of any family; rows of indices without a task hold ``NO_TASK``."""
        known = conditioning_of([task.parameters for task in self.tasks])
        vectors = np.full((self.tasks[-1].index + 1, known.vectors.shape[1]), NO_TASK, np.float32)
        vectors[[task.index for task in self.tasks]] = known.vectors
        return Conditioning(known.names, known.low, known.high, vectors)

    @property
    def has_references(self) -> bool:
        """Whether there are reference returns."""
        return self.description.facts.references is not None or super().has_references

    def reference_returns(self, task: int) -> tuple[float, float]:
        """See :meth:`TaskFamily.reference_returns`."""
        references = self.description.facts.references
        if references is None:
            return super().reference_returns(task)
        if str(task) not in references:
            raise NotFoundError(f"family {self.name}: its data has no reference returns of task {task}")
        random, expert = references[str(task)]
        return random, expert

    def make_simulator(
        self, tasks: Sequence[int], *, threads: int = 1, render_mode: str | None = None
    ) -> Simulator:
        """Not possible.

        Raises:
            NotFoundError: always.
        """
        raise NotFoundError(_nothing_to_act_in(self.name))

    def require_gymnasium(self) -> None:
        """Not possible.

        Raises:
            NotFoundError: always.
        """
        raise NotFoundError(_nothing_to_act_in(self.name))


def _nothing_to_act_in(name: str) -> str:
    return (
        f"no task family is called {name!r} here, so there is no environment to act in: install the package "
        "that brings it, or evaluate with one of your own (`clwm eval RUN --env package.module:function`, "
        "called with a task's index and parameters)"
    )


def _shared_parameters(tasks: Sequence[Task]) -> list[str]:
    """The parameters that all tasks name: as a number, or as so many in a vector."""
    kinds = [{name: [*flattened({name: value})] for name, value in t.parameters.items()} for t in tasks]
    return [
        name
        for name in (kinds[0] if kinds else ())
        if all(kind.get(name) == kinds[0][name] for kind in kinds)
    ]
