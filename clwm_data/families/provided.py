"""Environments that a user's function makes, for the tasks of a family that has none here."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from clwm_data.errors import ClwmError, InvalidInputError, UnavailableError
from clwm_data.families.base import Task, TaskFamily, with_lists
from clwm_data.families.simulation.process_lanes import ProcessLanes
from clwm_data.families.simulation.simulator import Simulator
from clwm_data.families.stored import FamilyDescription, FamilyFacts, StoredFamily, TaskDescription
from clwm_data.functions import FOREIGN_ERRORS, find_function, in_short

if TYPE_CHECKING:
    import gymnasium

    from clwm_data.families.declared.simulator import EnvironmentSimulator

#: Called with a task's index and its parameters by name.
MakeEnvironment = Callable[[int, dict[str, Any]], "gymnasium.Env[Any, Any]"]


class ProvidedFamily(StoredFamily):
    """The tasks of a family, acted in through environments that a function makes.

    An episode is truncated by its environment, or else after the horizon of the family. Success is not known.

    Args:
        known: the family of the tasks.
        make: the function, or its name ``package.module:function``.

    Raises:
        NotFoundError: there is no such function.
        InvalidInputError: it makes no environments of the data's sizes.
        UnavailableError: it raises an error.
    """

    has_states = False

    def __init__(self, known: TaskFamily, make: MakeEnvironment | str) -> None:
        sizes = known.observation_size, known.action_size
        super().__init__(known.name, *sizes, described(known), lambda: known.horizon)
        self.has_success = False
        self._make = make
        self.require_gymnasium()
        simulator = self._checked([self.tasks[0].index])
        self.discrete = simulator.translation.discrete
        simulator.close()

    def make_simulator(
        self, tasks: Sequence[int], *, threads: int = 1, render_mode: str | None = None
    ) -> Simulator:
        """A loop over environments, in worker processes given several threads and lanes.

        Raises:
            InvalidInputError: what the function makes is not an environment, or its sizes are not the data's.
            UnavailableError: the function raises an error.
        """
        if threads == 1 or len(tasks) == 1:
            return self._checked(tasks)
        factory = partial(_simulator, self.name, self._make, self.tasks)
        try:
            pickle.dumps(factory)
        except Exception as error:  # lambdas, functions of a notebook
            raise InvalidInputError(
                f"{function_name(self._make)}: cannot be sent to worker processes ({in_short(error)}): "
                "evaluate with one thread, or put the function into a module"
            ) from error
        return ProcessLanes(self.name, factory, tasks, workers=threads)

    def _checked(self, tasks: Sequence[int]) -> EnvironmentSimulator:
        simulator = _simulator(self.name, self._make, self.tasks, tasks)
        for name in ("observation_size", "action_size"):
            expected, made = getattr(self, name), getattr(simulator.translation, name)
            if expected != made:
                simulator.close()
                raise InvalidInputError(
                    f"{function_name(self._make)}: task {tasks[0]} has {name.replace('_', ' ')} {made}, "
                    f"its data {expected}"
                )
        return simulator

    def require_gymnasium(self) -> None:
        """As of families that are installed."""
        TaskFamily.require_gymnasium(self)


def described(family: TaskFamily) -> FamilyDescription:
    """A family's description, as data would show it."""
    if isinstance(family, StoredFamily):
        return family.description
    return FamilyDescription(
        facts=FamilyFacts(horizon=family.horizon),
        tasks=[
            TaskDescription(
                index=task.index,
                split=task.split,
                parameters=with_lists(task.parameters),
            )
            for task in family.tasks
        ],
        has_success=family.has_success,
        discrete=family.discrete,
    )


def function_name(function: Callable[..., Any] | str) -> str:
    """``module:name`` of a function."""
    if isinstance(function, str):
        return function
    name = getattr(function, "__qualname__", type(function).__qualname__)
    return f"{getattr(function, '__module__', '')}:{name}"


def _simulator(
    family: str, make: MakeEnvironment | str, known: Sequence[Task], tasks: Sequence[int]
) -> EnvironmentSimulator:
    from clwm_data.families.declared.simulator import EnvironmentSimulator

    function = find_function(make, "--env") if isinstance(make, str) else make
    by_index = {task.index: task for task in known}
    source = function_name(make)
    makers = [partial(_environment, source, function, by_index[task]) for task in tasks]
    return EnvironmentSimulator(family, source, tasks, makers, success=None)


def _environment(source: str, make: Callable[..., Any], task: Task) -> Any:
    import gymnasium

    try:
        env = make(task.index, dict(task.parameters))
    except ClwmError:
        raise
    except FOREIGN_ERRORS as error:
        raise UnavailableError(f"{source}: task {task.index}: {in_short(error)}") from error
    if not isinstance(env, gymnasium.Env):
        raise InvalidInputError(
            f"{source}: task {task.index}: gives a {type(env).__name__}, no gymnasium.Env"
        )
    return env
